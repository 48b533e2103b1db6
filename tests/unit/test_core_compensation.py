"""Turning round: what is compensated, in which order, how often, and what happens when that fails."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.facts import RetryDue
from saga_es.core.outcomes import Completed, Direction, Outcome, Rejected, Unavailable, Unknown
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus, StepStatus
from tests.support.story import (
    ABC,
    ONCE,
    STARTED,
    a_plan,
    a_step,
    action,
    all_well,
    done,
    drive,
    failing,
    given,
    seconds,
    undo,
)

REFUSED: list[e.SagaEvent] = [e.StepStarted("c", 1), e.StepFailed("c", 1, "rejected", "no"), e.SagaAborted("c", "no")]
TURNED_ROUND: list[e.SagaEvent] = [STARTED, *done("a", "b"), *REFUSED, e.CompensationStarted("b", 1)]


def compensated(log: list[e.SagaEvent]) -> list[str]:
    return [event.step for event in log if isinstance(event, e.CompensationCompleted)]


# ── What, and in which order ─────────────────────────────────────────────────────────────────────────────


def test_compensations_run_in_reverse_order_of_completion() -> None:
    """The last thing done is the first undone."""
    log = drive(a_plan("a", "b", "c", "d"), failing("d", Rejected("no"))).log
    assert compensated(log) == ["c", "b", "a"]


def test_one_compensation_is_out_at_a_time() -> None:
    """The next is announced together with the outcome of the one before."""
    given(*TURNED_ROUND).when(undo("b", Completed())).then(e.CompensationCompleted("b"), e.CompensationStarted("a", 1))


def test_the_last_compensation_brings_the_end() -> None:
    """Nothing is left to undo, and the same append says so."""
    story = given(*TURNED_ROUND, e.CompensationCompleted("b"), e.CompensationStarted("a", 1)).when(
        undo("a", Completed())
    )
    story.then(e.CompensationCompleted("a"), e.SagaCompensated())
    assert story.state.effects == ()
    assert {name: step.status for name, step in story.state.steps.items()} == {
        "a": StepStatus.COMPENSATED,
        "b": StepStatus.COMPENSATED,
        "c": StepStatus.FAILED,
    }


def test_a_rejected_step_is_not_compensated() -> None:
    """Refused for good means that nothing was done."""
    assert compensated(drive(ABC, failing("b", Rejected("no"))).log) == ["a"]


def test_a_step_that_was_never_available_is_not_compensated() -> None:
    """Not now, to the last attempt, means that nothing was done."""
    log = drive(ABC, failing("b", Unavailable("busy"))).log
    assert compensated(log) == ["a"]


def test_a_step_whose_outcome_is_unknown_is_compensated_first() -> None:
    """It may have happened, and it happened last."""
    journey = drive(ABC, failing("b", Unknown("lost")))
    assert compensated(journey.log) == ["b", "a"]
    assert journey.state.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize("last", [Rejected("no"), Unavailable("busy")])
def test_once_in_doubt_always_in_doubt(last: Rejected | Unavailable) -> None:
    """A later refusal says nothing about an earlier attempt that may still be under way."""
    answers: list[Outcome] = [Unknown("lost"), Unavailable("busy"), last]

    def answer(intent: e.StepStarted | e.CompensationStarted) -> Outcome:
        forward = isinstance(intent, e.StepStarted) and intent.step == "b"
        return answers[intent.attempt - 1] if forward else all_well(intent)

    journey = drive(ABC, answer)
    assert compensated(journey.log) == ["b", "a"]
    assert journey.state.step("b").in_doubt


def test_a_step_in_doubt_that_completes_is_one_effect() -> None:
    """It is compensated once, not once for each attempt."""
    past: list[e.SagaEvent] = [
        STARTED,
        e.StepStarted("a", 1),
        e.StepFailed("a", 1, "unknown", "lost", seconds(1)),
        e.StepStarted("a", 2),
    ]
    story = given(*past).when(action("a", Completed(1), 2))
    assert story.state.effects == ("a",)


def test_steps_without_a_compensation_are_passed_over() -> None:
    """There is nothing to undo, so nobody is asked."""
    plan = a_plan("a", a_step("b", compensation=None), "c", "d")
    log = drive(plan, failing("d", Rejected("no"))).log
    assert compensated(log) == ["c", "a"]


def test_a_step_in_doubt_without_a_compensation_is_passed_over() -> None:
    """Doubt does not make a compensation out of none."""
    plan = a_plan("a", a_step("b", retry=ONCE, compensation=None))
    given(STARTED, *done("a"), e.StepStarted("b", 1), plan=plan).when(action("b", Unknown("lost"))).then(
        e.StepFailed("b", 1, "unknown", "lost"), e.SagaAborted("b", "lost"), e.CompensationStarted("a", 1)
    )


def test_a_saga_with_nothing_to_undo_ends_where_it_aborts() -> None:
    """The refusal, the turn and the end are one append."""
    plan = a_plan(a_step("a", compensation=None), "b")
    given(STARTED, *done("a"), e.StepStarted("b", 1), plan=plan).when(action("b", Rejected("no"))).then(
        e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.SagaCompensated()
    )


def test_a_result_is_kept_for_the_compensation() -> None:
    """What the action answered is still there when it is undone."""
    story = given(STARTED, e.StepStarted("a", 1), e.StepCompleted("a", {"id": 7}), e.StepStarted("b", 1))
    story.when(action("b", Rejected("no")))
    step = story.state.step("a")
    assert (step.status, step.result) == (StepStatus.COMPENSATING, {"id": 7})


# ── Trying a compensation again ──────────────────────────────────────────────────────────────────────────


def test_a_compensation_counts_its_own_attempts() -> None:
    """However often the action was tried, its compensation begins at 1."""
    past: list[e.SagaEvent] = [
        STARTED,
        e.StepStarted("a", 1),
        e.StepFailed("a", 1, "unavailable", "x", seconds(1)),
        e.StepStarted("a", 2),
    ]
    story = given(*past, e.StepCompleted("a", 1), e.StepStarted("b", 1)).when(action("b", Rejected("no")))
    assert story.decided[-1] == e.CompensationStarted("a", 1)
    story.when(undo("a", Unavailable("busy"))).then(e.CompensationFailed("a", 1, "unavailable", "busy", seconds(1)))
    story.when(RetryDue("a", Direction.COMPENSATION, 1)).then(e.CompensationStarted("a", 2))
    assert (story.state.step("a").attempts, story.state.step("a").compensation_attempts) == (2, 2)


def test_a_compensation_has_its_own_policy() -> None:
    """Its waits and attempts are those of the compensation, not of the action."""
    own = RetryPolicy(attempts=2, first_delay_s=7, jitter=0)
    plan = a_plan(a_step("a", retry=ONCE, compensation=own), a_step("b", retry=ONCE))
    story = given(STARTED, *done("a"), e.StepStarted("b", 1), plan=plan).when(action("b", Rejected("no")))
    story.when(undo("a", Unknown("lost"))).then(e.CompensationFailed("a", 1, "unknown", "lost", seconds(7)))


def test_the_two_directions_of_a_step_do_not_share_their_jitter() -> None:
    """The wait of a compensation is drawn apart from that of its action."""
    spread = RetryPolicy(attempts=2, first_delay_s=10, jitter=1)
    plan = a_plan(a_step("a", retry=spread, compensation=spread), a_step("b", retry=ONCE))
    forward = given(STARTED, e.StepStarted("a", 1), plan=plan).when(action("a", Unavailable("x"))).decided[0]
    aborted = given(STARTED, *done("a"), e.StepStarted("b", 1), plan=plan).when(action("b", Rejected("no")))
    backward = aborted.when(undo("a", Unavailable("x"))).decided[0]
    assert isinstance(forward, e.StepFailed)
    assert isinstance(backward, e.CompensationFailed)
    assert forward.retry_at != backward.retry_at


def test_a_participant_may_ask_a_compensation_to_wait_longer() -> None:
    """Retry-After counts backward as it does forward."""
    given(*TURNED_ROUND).when(undo("b", Unavailable("busy", 60))).then(
        e.CompensationFailed("b", 1, "unavailable", "busy", seconds(60))
    )


# ── When it cannot be undone ─────────────────────────────────────────────────────────────────────────────


def test_a_compensation_that_is_refused_needs_a_person() -> None:
    """The saga fails at once, and the reason names the step, the attempt and the words of the participant."""
    story = given(*TURNED_ROUND).when(undo("b", Rejected("already shipped")))
    reason = "the compensation of step 'b' was given up after attempt 1 of 3: already shipped"
    story.then(e.CompensationFailed("b", 1, "rejected", "already shipped"), e.SagaFailed(reason))
    assert (story.state.status, story.state.error, story.state.failed_step) == (SagaStatus.FAILED, reason, "c")
    assert story.state.step("b").waiting is None


@pytest.mark.parametrize(
    ("outcome", "failure"), [(Unavailable("still busy"), "unavailable"), (Unknown("still busy"), "unknown")]
)
def test_a_compensation_whose_attempts_run_out_needs_a_person(outcome: Outcome, failure: str) -> None:
    """The reason says how many attempts there were."""
    story = given(*TURNED_ROUND)
    for attempt in (1, 2):
        story.when(undo("b", outcome, attempt)).when(RetryDue("b", Direction.COMPENSATION, attempt))
    last, ended = story.when(undo("b", outcome, 3)).decided
    assert isinstance(last, e.CompensationFailed)
    assert (last.attempt, last.failure, last.retry_at) == (3, failure, None)
    assert ended == e.SagaFailed("the compensation of step 'b' was given up after attempt 3 of 3: still busy")


def test_what_was_not_undone_is_still_an_effect() -> None:
    """Who looks at the failed saga sees what is left to clear up, in order of completion."""
    story = given(*TURNED_ROUND).when(undo("b", Rejected("no")))
    assert story.state.effects == ("a", "b")
