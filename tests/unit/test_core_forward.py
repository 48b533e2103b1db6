"""Going forward: start, steps in order, the end, takeover, and facts that come too late."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.evolve import fold
from saga_es.core.facts import CannotGoOn, Fact, OwnerGone, RetryDue, Start
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.state import ENDED, UNFINISHED, SagaState, SagaStatus, StepStatus, open_intents
from tests.support.story import (
    ABC,
    SAGA_ID,
    START,
    STARTED,
    a_plan,
    action,
    done,
    drive,
    failing,
    given,
    seconds,
    undo,
)

FAILED_ONCE = e.StepFailed("a", 1, "unavailable", "busy", seconds(1))

# ── The sequence ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_brings_the_first_intent_along() -> None:
    """The start and the first call's intent are one append."""
    given().when(START).then(STARTED, e.StepStarted("a", 1))


def test_a_start_without_a_worker_waits() -> None:
    """Nobody is there to make a call, so none is announced."""
    story = given().when(Start("plan-1", {}, None)).then(e.SagaStarted("order", "plan-1", {}, None))
    assert story.state.status is SagaStatus.PENDING
    assert story.state.owner is None


def test_a_second_start_changes_nothing() -> None:
    """A saga starts once, however often it is asked for."""
    given(STARTED, e.StepStarted("a", 1)).when(START).then()


def test_an_outcome_and_the_next_intent_are_one_list() -> None:
    """What a step answered and what is called next cannot be torn apart by a crash."""
    given(STARTED, e.StepStarted("a", 1)).when(action("a", Completed({"id": 7}))).then(
        e.StepCompleted("a", {"id": 7}), e.StepStarted("b", 1)
    )


def test_the_last_outcome_brings_the_end() -> None:
    """The last step's outcome and the end of the saga are one append."""
    story = given(STARTED, *done("a", "b"), e.StepStarted("c", 1)).when(action("c", Completed(3)))
    story.then(e.StepCompleted("c", 3), e.SagaCompleted())
    assert story.state.status is SagaStatus.COMPLETED
    assert story.state.results == {"a": "a!", "b": "b!", "c": 3}


def test_a_step_may_answer_nothing() -> None:
    """None is an answer like any other."""
    given(STARTED, e.StepStarted("a", 1)).when(action("a", Completed())).then(
        e.StepCompleted("a"), e.StepStarted("b", 1)
    )


def test_a_saga_of_four_steps_is_five_decisions_and_ten_events() -> None:
    """Nothing cheaper is safe, and nothing more is written."""
    journey = drive(a_plan("a", "b", "c", "d"))
    assert [len(moment.events) for moment in journey.moments] == [2] * 5
    assert journey.log == [STARTED, *done("a", "b", "c", "d"), e.SagaCompleted()]


def test_its_failing_twin_is_eight_appends() -> None:
    """A step that is refused is itself not undone; each compensation is one moment."""
    journey = drive(a_plan("a", "b", "c", "d"), failing("d", Rejected("no")))
    assert [bool(moment.events) for moment in journey.moments] == [True] * 8
    assert journey.state.status is SagaStatus.COMPENSATED


def test_its_failing_twin_aborts_where_it_fails() -> None:
    """Rejected in the third of four steps: two compensations, the later one first, and nothing of the fourth."""
    journey = drive(a_plan("a", "b", "c", "d"), failing("c", Rejected("sold out")))
    assert len(journey.moments) == 6
    assert journey.log == [
        STARTED,
        *done("a", "b"),
        e.StepStarted("c", 1),
        e.StepFailed("c", 1, "rejected", "sold out"),
        e.SagaAborted("c", "sold out"),
        e.CompensationStarted("b", 1),
        e.CompensationCompleted("b"),
        e.CompensationStarted("a", 1),
        e.CompensationCompleted("a"),
        e.SagaCompensated(),
    ]
    assert (journey.state.status, journey.state.failed_step) == (SagaStatus.COMPENSATED, "c")
    assert journey.state.error == "sold out"


# ── The four outcomes ────────────────────────────────────────────────────────────────────────────────────


def test_rejected_aborts_the_saga_at_once() -> None:
    """A refusal for good is not tried again, however many attempts are left."""
    given(STARTED, e.StepStarted("a", 1)).when(action("a", Rejected("no"))).then(
        e.StepFailed("a", 1, "rejected", "no"), e.SagaAborted("a", "no"), e.SagaCompensated()
    )


@pytest.mark.parametrize(("outcome", "failure"), [(Unavailable("busy"), "unavailable"), (Unknown("lost"), "unknown")])
def test_a_failure_that_may_pass_sets_a_timer_and_nothing_else(outcome: Unavailable | Unknown, failure: str) -> None:
    """The saga stays where it is and waits."""
    story = given(STARTED, e.StepStarted("a", 1)).when(action("a", outcome))
    (failed,) = story.decided
    assert isinstance(failed, e.StepFailed)
    assert (failed.failure, failed.error, failed.retry_at) == (failure, outcome.error, seconds(1))
    assert story.state.status is SagaStatus.IN_PROGRESS
    assert story.state.step("a").waiting == failed


# ── The state, as people read it ─────────────────────────────────────────────────────────────────────────


def test_a_fresh_saga_is_pending_and_so_are_its_steps() -> None:
    """Before its first event a saga has version 0 and nothing to show."""
    state = given().state
    assert (state.version, state.status, state.step("a").status) == (0, SagaStatus.PENDING, StepStatus.PENDING)
    assert state.results == {}


def test_every_status_either_has_ended_or_is_unfinished() -> None:
    """The two sets are one another's rest."""
    assert set(SagaStatus) == ENDED | UNFINISHED
    assert not ENDED & UNFINISHED
    assert [status.ended for status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED)] == [True] * 3
    assert not SagaStatus.COMPENSATING.ended


def test_the_current_step_index_counts_the_done_steps() -> None:
    """Forward it is the place of the step that runs; when all are done, their number."""
    assert given().state.current_step_index == 0
    assert given(STARTED, *done("a"), e.StepStarted("b", 1)).state.current_step_index == 1
    assert drive(ABC).state.current_step_index == 3


def test_the_current_step_index_stays_at_the_failed_step() -> None:
    """Compensating does not move it: it names where things went wrong."""
    assert drive(ABC, failing("b", Rejected("no"))).state.current_step_index == 1


def test_a_failed_attempt_shows_its_error_until_the_step_is_done() -> None:
    """A step that worked in the end has no error left."""
    story = given(STARTED, e.StepStarted("a", 1), FAILED_ONCE)
    assert story.state.step("a").error == "busy"
    story.when(RetryDue("a", Direction.ACTION, 1)).when(action("a", Completed(1), 2))
    step = story.state.step("a")
    assert (step.status, step.attempts, step.error, step.waiting) == (StepStatus.COMPLETED, 2, None, None)


def test_results_hold_only_completed_steps() -> None:
    """A compensated step's result is no longer one."""
    assert drive(ABC, failing("b", Rejected("no"))).state.results == {}


# ── Facts that no longer matter ──────────────────────────────────────────────────────────────────────────

WAITING: list[e.SagaEvent] = [STARTED, e.StepStarted("a", 1), FAILED_ONCE]
SECOND: list[e.SagaEvent] = [*WAITING, e.StepStarted("a", 2)]
COMPENSATING: list[e.SagaEvent] = [
    STARTED,
    *done("a"),
    e.StepStarted("b", 1),
    e.StepFailed("b", 1, "rejected", "no"),
    e.SagaAborted("b", "no"),
    e.CompensationStarted("a", 1),
]
UNDO_WAITING: list[e.SagaEvent] = [*COMPENSATING, e.CompensationFailed("a", 1, "unavailable", "busy", seconds(1))]


@pytest.mark.parametrize(
    ("past", "fact"),
    [
        pytest.param(SECOND, action("a", Completed(1), 1), id="an answer to an attempt that was given up"),
        pytest.param(SECOND, action("a", Completed(1), 3), id="an answer to an attempt not made yet"),
        pytest.param(WAITING, action("a", Completed(1), 1), id="an answer after its attempt counted as failed"),
        pytest.param(SECOND, undo("a", Completed(), 2), id="the answer of a compensation while going forward"),
        pytest.param(SECOND, RetryDue("a", Direction.ACTION, 1), id="a timer that has rung before"),
        pytest.param(WAITING, RetryDue("a", Direction.ACTION, 2), id="a timer of another attempt"),
        pytest.param(WAITING, RetryDue("a", Direction.COMPENSATION, 1), id="a timer of the other direction"),
        pytest.param([STARTED, *done("a")], action("a", Completed(2)), id="a second answer to a done step"),
        pytest.param(SECOND, action("b", Completed(1)), id="an answer of a step that has not started"),
        pytest.param(SECOND, action("nowhere", Completed(1)), id="an answer of a step the plan has not"),
        pytest.param(SECOND, undo("nowhere", Rejected("x")), id="a compensation of a step the plan has not"),
        pytest.param(SECOND, RetryDue("nowhere", Direction.ACTION, 1), id="a timer of a step the plan has not"),
        pytest.param(COMPENSATING, action("b", Completed(1)), id="a late success of the step that was refused"),
        pytest.param(COMPENSATING, action("a", Completed(1)), id="the action's answer during its compensation"),
        pytest.param(COMPENSATING, undo("a", Completed(), 2), id="a compensation attempt not made yet"),
        pytest.param(UNDO_WAITING, undo("a", Completed(), 1), id="a compensation's answer after it failed"),
        pytest.param(UNDO_WAITING, RetryDue("a", Direction.ACTION, 1), id="an action's timer while compensating"),
        pytest.param(UNDO_WAITING, RetryDue("a", Direction.COMPENSATION, 2), id="a timer of a later compensation"),
    ],
)
def test_a_stale_fact_changes_nothing(past: list[e.SagaEvent], fact: Fact) -> None:
    """Only the call that is out, and the timer that is set, can say something new."""
    given(*past).when(fact).then()


@pytest.mark.parametrize("end", [e.SagaCompleted(), e.SagaCompensated(), e.SagaFailed("why")])
@pytest.mark.parametrize(
    "fact",
    [
        START,
        action("c", Completed(1)),
        undo("a", Completed()),
        RetryDue("a", Direction.ACTION, 1),
        OwnerGone("w2"),
        CannotGoOn("gone"),
    ],
)
def test_nothing_follows_the_end(end: e.SagaEvent, fact: Fact) -> None:
    """An ended saga is deaf."""
    given(STARTED, *done("a", "b"), e.StepStarted("c", 1), end).when(fact).then()


# ── Owners ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_running_saga_taken_over_keeps_its_place() -> None:
    """Its open call stays open: the new owner makes it again, with the same key."""
    story = given(STARTED, *done("a"), e.StepStarted("b", 1)).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert (story.state.owner, story.state.status) == ("w2", SagaStatus.IN_PROGRESS)
    assert open_intents(story.state) == [e.StepStarted("b", 1)]


def test_a_waiting_saga_taken_over_keeps_its_timer() -> None:
    """The wait that was recorded is waited for, not begun anew."""
    story = given(*WAITING).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == [FAILED_ONCE]


def test_a_compensating_saga_taken_over_keeps_compensating() -> None:
    """A takeover never moments a saga forward again."""
    story = given(*COMPENSATING).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert story.state.status is SagaStatus.COMPENSATING
    assert open_intents(story.state) == [e.CompensationStarted("a", 1)]


def test_a_pending_saga_taken_over_begins() -> None:
    """The takeover, the beginning and the first intent are one append."""
    story = given(e.SagaStarted("order", "plan-1", {}, None)).when(OwnerGone("w2"))
    story.then(e.SagaTakenOver("w2", None), e.SagaBegan(), e.StepStarted("a", 1))
    assert story.state.status is SagaStatus.IN_PROGRESS


def test_a_saga_that_cannot_go_on_fails_with_the_reason() -> None:
    """It is never left silently stuck."""
    story = given(STARTED, e.StepStarted("a", 1)).when(CannotGoOn("the code of step 'a' is gone"))
    story.then(e.SagaFailed("the code of step 'a' is gone"))
    assert (story.state.status, story.state.error) == (SagaStatus.FAILED, "the code of step 'a' is gone")


# ── What is open ─────────────────────────────────────────────────────────────────────────────────────────

LONG_LOG: list[tuple[e.SagaEvent, list[e.SagaEvent]]] = [
    (e.SagaStarted("order", "plan-1", {}, None), []),
    (e.SagaTakenOver("w1"), []),
    (e.SagaBegan(), []),
    (e.StepStarted("a", 1), [e.StepStarted("a", 1)]),
    (FAILED_ONCE, [FAILED_ONCE]),
    (e.SagaTakenOver("w2", "w1"), [FAILED_ONCE]),
    (e.StepStarted("a", 2), [e.StepStarted("a", 2)]),
    (e.StepCompleted("a", 1), []),
    (e.StepStarted("b", 1), [e.StepStarted("b", 1)]),
    (e.StepFailed("b", 1, "unknown", "lost", seconds(1)), [e.StepFailed("b", 1, "unknown", "lost", seconds(1))]),
    (e.StepStarted("b", 2), [e.StepStarted("b", 2)]),
    (e.StepFailed("b", 2, "rejected", "no"), []),
    (e.SagaAborted("b", "no"), []),
    (e.CompensationStarted("b", 1), [e.CompensationStarted("b", 1)]),
    (
        e.CompensationFailed("b", 1, "unknown", "x", seconds(9)),
        [e.CompensationFailed("b", 1, "unknown", "x", seconds(9))],
    ),
    (e.CompensationStarted("b", 2), [e.CompensationStarted("b", 2)]),
    (e.CompensationCompleted("b"), []),
    (e.CompensationStarted("a", 1), [e.CompensationStarted("a", 1)]),
    (e.CompensationCompleted("a"), []),
    (e.SagaCompensated(), []),
]


@pytest.mark.parametrize("length", range(len(LONG_LOG) + 1))
def test_after_every_prefix_of_a_log_the_open_intents_are_known(length: int) -> None:
    """Cut the log anywhere: what was begun and has no outcome is exactly what must be performed again."""
    state = fold(SagaState(SAGA_ID, ABC), [event for event, _ in LONG_LOG[:length]])
    assert state.version == length
    assert open_intents(state) == (LONG_LOG[length - 1][1] if length else [])


def test_a_failed_saga_has_nothing_open() -> None:
    """Also when it failed with a call out: nobody makes that call again."""
    assert open_intents(given(STARTED, e.StepStarted("a", 1), e.SagaFailed("crashed 5 times")).state) == []
