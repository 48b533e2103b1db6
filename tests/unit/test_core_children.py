"""A step that runs another saga: started, waited for, undone as a whole; told from the parent's side."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.commands import ReplaceInput, Retry, Skip
from saga_es.core.facts import ChildEnded, OwnerGone, RetryDue, Start
from saga_es.core.outcomes import ChildReady, Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.plan import Child, StepPlan
from saga_es.core.state import SagaStatus, StepStatus, open_intents
from tests.support.story import (
    NOW,
    STARTED,
    THRICE,
    Past,
    a_plan,
    a_step,
    action,
    done,
    given,
    seconds,
    started,
    undo,
)


def child_step(name: str = "pay", **more: object) -> StepPlan:
    return a_step(name, work=Child("payment"), **more)  # type: ignore[arg-type]  # options by name


ORDER = a_plan("book", child_step(), "ship")
READY = ChildReady("saga-2", {"n": 1})
CHILD = e.ChildStarted("pay", "payment", "saga-2", {"n": 1})
MAKING: Past = [STARTED, *done("book"), e.StepStarted("pay", 1)]
RUNNING: Past = [*MAKING, CHILD]
SHIPPING: Past = [*RUNNING, e.StepCompleted("pay", {"charge": 1}), e.StepStarted("ship", 1)]
TURNED: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("pay", 1), CHILD]
BESIDE = a_plan(a_step("book", after=()), child_step(after=()))
REFUSED: Past = [e.StepFailed("book", 1, "rejected", "no"), e.SagaAborted("book", "no")]


# ── Forward ──────────────────────────────────────────────────────────────────────────────────────────────


def test_its_input_is_made_first() -> None:
    """That is a call of the step, and has an intent like any other."""
    given(STARTED, e.StepStarted("book", 1), plan=ORDER).when(action("book", Completed())).then(
        e.StepCompleted("book"), e.StepStarted("pay", 1)
    )


def test_a_saga_that_is_ready_is_recorded_before_it_is_started() -> None:
    """Under which id, with which input: what a crash leaves behind is started again as the same saga."""
    story = given(*MAKING, plan=ORDER).when(action("pay", READY)).then(CHILD)
    assert open_intents(story.state) == [CHILD]


def test_an_input_that_could_not_be_made_is_tried_again() -> None:
    """Nothing was started, so nothing is in doubt, not even when the making broke."""
    story = given(*MAKING, plan=ORDER).when(action("pay", Unknown("KeyError")))
    story.then(e.StepFailed("pay", 1, "unknown", "KeyError", seconds(1)))
    assert not story.state.step("pay").in_doubt
    story.when(RetryDue("pay", Direction.ACTION, 1)).then(e.StepStarted("pay", 2))


def test_an_input_that_is_refused_aborts_the_saga() -> None:
    """There is no saga to undo."""
    story = given(*MAKING, plan=ORDER).when(action("pay", Rejected("no")))
    story.then(e.StepFailed("pay", 1, "rejected", "no"), e.SagaAborted("pay", "no"), e.CompensationStarted("book", 1))


def test_a_saga_that_completed_completes_its_step() -> None:
    """The step's result is what that saga answered."""
    story = given(*RUNNING, plan=ORDER).when(ChildEnded("pay", "saga-2", "COMPLETED", {"charge": 1}))
    story.then(e.StepCompleted("pay", {"charge": 1}), e.StepStarted("ship", 1))


NOT_RECORDED = ChildEnded("pay", "saga-2", "COMPLETED", None, not_recorded="charge is NaN")


def test_a_saga_whose_results_cannot_be_recorded_is_undone_as_a_whole() -> None:
    """It is done, so its step is; then it is asked to go back."""
    done_ = e.StepCompleted("pay", {"not_recorded": "charge is NaN"})
    story = given(*RUNNING, plan=ORDER).when(NOT_RECORDED)
    story.then(done_, e.SagaAborted("pay", "charge is NaN"), e.CompensationStarted("pay", 1))


def test_a_saga_that_cannot_be_undone_goes_on_without_its_results() -> None:
    """Its parent has what says so in their place."""
    plan = a_plan("book", child_step(kind="pivot"), "ship")
    story = given(*RUNNING, plan=plan).when(NOT_RECORDED)
    story.then(e.StepCompleted("pay", {"not_recorded": "charge is NaN"}), e.StepStarted("ship", 1))


def test_a_saga_that_was_compensated_is_a_step_that_was_refused() -> None:
    """It has undone itself: what is left to undo is what came before."""
    story = given(*RUNNING, plan=ORDER).when(ChildEnded("pay", "saga-2", "COMPENSATED", error="no money"))
    story.then(
        e.StepFailed("pay", 1, "rejected", "no money"),
        e.SagaAborted("pay", "no money"),
        e.CompensationStarted("book", 1),
    )


def test_a_saga_that_was_compensated_without_a_word_is_named() -> None:
    """The reason says which."""
    story = given(*RUNNING, plan=ORDER).when(ChildEnded("pay", "saga-2", "COMPENSATED"))
    assert story.state.error == "the saga saga-2 was compensated"


def test_a_saga_that_needs_a_person_makes_its_parent_need_one() -> None:
    """The parent's reason says whom to look after."""
    story = given(*RUNNING, plan=ORDER).when(ChildEnded("pay", "saga-2", "FAILED", error="stuck"))
    story.then(e.SagaFailed("step 'pay' runs saga saga-2, which is FAILED: stuck"))


def test_the_answer_of_its_making_is_heard_once() -> None:
    """A second saga would be one too many."""
    given(*RUNNING, plan=ORDER).when(action("pay", ChildReady("saga-3", {}))).then()


@pytest.mark.parametrize("status", ["COMPLETED", "COMPENSATED", "FAILED"])
def test_an_end_that_nobody_waits_for_is_no_news(status: str) -> None:
    """Before the saga was started, and after its step has its result."""
    ended = ChildEnded("pay", "saga-2", status)  # type: ignore[arg-type]  # statuses as text
    given(*MAKING, plan=ORDER).when(ended).then()
    given(*SHIPPING, plan=ORDER).when(ended).then()
    given(*MAKING, plan=ORDER).when(ChildEnded("nowhere", "saga-2", "COMPLETED")).then()


def test_a_takeover_starts_the_same_saga_again() -> None:
    """Which finds it started: ids are the same."""
    story = given(*RUNNING, plan=ORDER).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == [CHILD]
    assert not story.state.step("pay").in_doubt


def test_a_takeover_while_its_input_was_being_made_makes_it_again() -> None:
    """No saga was started, so there is no doubt."""
    story = given(*MAKING, plan=ORDER).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == [e.StepStarted("pay", 1)]
    assert not story.state.step("pay").in_doubt


def test_each_element_may_have_a_saga_of_its_own() -> None:
    """Parts are steps."""
    plan = a_plan(child_step(over="input[who]"))
    past: Past = [started({"who": ["x", "y"]}), e.StepFannedOut("pay", 2), e.StepStarted("pay[0]", 1)]
    story = given(*past, e.StepStarted("pay[1]", 1), plan=plan).when(action("pay[1]", ChildReady("saga-3", {})))
    story.then(e.ChildStarted("pay[1]", "payment", "saga-3", {}))
    story.when(ChildEnded("pay[1]", "saga-3", "COMPLETED", "y!")).then(e.StepCompleted("pay[1]", "y!"))


# ── Back ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_that_completed_is_undone_like_any_step() -> None:
    """The shell has the whole saga compensated, and tells how that ended."""
    story = given(*SHIPPING, plan=ORDER).when(action("ship", Rejected("no")))
    story.then(e.StepFailed("ship", 1, "rejected", "no"), e.SagaAborted("ship", "no"), e.CompensationStarted("pay", 1))
    assert story.state.step("pay").child == CHILD
    story.when(undo("pay", Completed())).then(e.CompensationCompleted("pay"), e.CompensationStarted("book", 1))


def test_a_saga_whose_compensation_needs_a_person_is_asked_again() -> None:
    """By its policy; then the parent needs one, too."""
    story = given(*SHIPPING, *REFUSED, e.CompensationStarted("pay", 1), plan=ORDER).when(undo("pay", Unknown("FAILED")))
    story.then(e.CompensationFailed("pay", 1, "unknown", "FAILED", seconds(1)))


def test_a_saga_that_is_under_way_at_the_abort_is_awaited() -> None:
    """It is told to abort, and until it has, nothing is undone."""
    story = given(*TURNED, plan=BESIDE).when(action("book", Rejected("no"))).then(*REFUSED)
    story.when(ChildEnded("pay", "saga-2", "COMPENSATED", error="told to"))
    story.then(e.StepFailed("pay", 1, "rejected", "told to"), e.SagaCompensated())


def test_a_saga_that_had_completed_before_it_heard_of_the_abort_is_undone() -> None:
    """Its effects are there."""
    story = given(*TURNED, *REFUSED, plan=BESIDE).when(ChildEnded("pay", "saga-2", "COMPLETED", 1))
    story.then(e.StepCompleted("pay", 1), e.CompensationStarted("pay", 1))


def test_a_saga_that_is_ready_only_after_the_abort_is_not_started() -> None:
    """There is nothing it would be good for."""
    past: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("pay", 1), *REFUSED]
    given(*past, plan=BESIDE).when(action("pay", READY)).then(e.StepSkipped("pay"), e.SagaCompensated())


def test_a_saga_that_fails_after_the_abort_makes_its_parent_need_a_person() -> None:
    """What is left of it is not known, so nothing is called undone."""
    story = given(*TURNED, *REFUSED, plan=BESIDE).when(ChildEnded("pay", "saga-2", "FAILED", error="stuck"))
    story.then(e.SagaFailed("step 'pay' runs saga saga-2, which is FAILED: stuck"))


# ── A person helps ───────────────────────────────────────────────────────────────────────────────────────

STUCK: Past = [*RUNNING, e.SagaFailed("its saga is FAILED")]
WHO = ("Ann", "set right")


def test_a_parent_that_is_tried_again_waits_for_the_same_saga() -> None:
    """Which the person has set right, or sets right meanwhile."""
    story = given(*STUCK, plan=ORDER).when(Retry(*WHO)).when(OwnerGone("w2"))
    assert open_intents(story.state) == [CHILD]
    story.when(ChildEnded("pay", "saga-2", "COMPLETED", 1)).then(e.StepCompleted("pay", 1), e.StepStarted("ship", 1))


def test_a_saga_that_has_its_input_cannot_be_given_another_through_its_parent() -> None:
    """It would change nothing: it is the saga itself that needs it."""
    why = "step 'pay' runs saga saga-2 already; replace the input there"
    given(*STUCK, plan=ORDER).refuses(ReplaceInput("pay", {}, *WHO), why)


def test_a_step_whose_saga_needs_a_person_can_be_skipped() -> None:
    """Forward, and back."""
    story = given(*STUCK, plan=ORDER).when(Skip("pay", *WHO))
    story.then(e.StepSkipped("pay", *WHO), e.SagaReopened("IN_PROGRESS", *WHO, NOW)).when(OwnerGone("w2"))
    story.then(e.SagaTakenOver("w2"), e.StepStarted("ship", 1))
    aborted = given(*TURNED, *REFUSED, e.SagaFailed("its saga is FAILED"), plan=BESIDE).when(Skip("pay", *WHO))
    aborted.when(OwnerGone("w2")).then(e.SagaTakenOver("w2"), e.SagaCompensated())


PAID = a_plan(
    a_step("sign", kind="pivot", compensation=None),
    child_step(kind="retriable", compensation=None, retry=THRICE),
)
SIGNED: Past = [STARTED, *done("sign"), e.StepStarted("pay", 1), CHILD]


def test_a_saga_that_must_succeed_and_was_compensated_needs_a_person() -> None:
    """There is no way back after the pivot."""
    story = given(*SIGNED, plan=PAID).when(ChildEnded("pay", "saga-2", "COMPENSATED", error="no money"))
    reason = "step 'pay' must succeed and was refused: no money"
    story.then(e.StepFailed("pay", 1, "rejected", "no money"), e.SagaFailed(reason))


def test_a_step_that_is_tried_again_runs_another_saga() -> None:
    """The one before has ended: the new attempt makes a new input, and its saga has an id of its own."""
    story = given(*SIGNED, plan=PAID).when(ChildEnded("pay", "saga-2", "COMPENSATED", error="no money"))
    story.when(Retry(*WHO)).when(OwnerGone("w2"))
    story.when(RetryDue("pay", Direction.ACTION, 1)).then(e.StepStarted("pay", 2))
    again = e.ChildStarted("pay", "payment", "saga-3", {"n": 2})
    story.when(action("pay", ChildReady("saga-3", {"n": 2}), 2)).then(again)
    assert open_intents(story.state) == [again]
    story.when(ChildEnded("pay", "saga-3", "COMPLETED", 1)).then(e.StepCompleted("pay", 1), e.SagaCompleted())


REOPENED: Past = [*SIGNED, e.StepFailed("pay", 1, "rejected", "no money"), e.SagaFailed("pay")]
ENDS = [
    ChildEnded("pay", "saga-2", "COMPLETED", 1),
    ChildEnded("pay", "saga-2", "COMPENSATED", error="no money"),
    ChildEnded("pay", "saga-2", "FAILED", error="stuck"),
]


@pytest.mark.parametrize("late", ENDS)
def test_an_end_that_is_told_again_after_a_reopening_is_no_news(late: ChildEnded) -> None:
    """The step waits for its retry and runs no saga: neither its end nor its failure is that of the one before."""
    story = given(*REOPENED, plan=PAID).when(Retry(*WHO)).when(late).then()
    story.when(OwnerGone("w2")).when(late).then()
    story.when(RetryDue("pay", Direction.ACTION, 1)).then(e.StepStarted("pay", 2))
    story.when(late).then()


@pytest.mark.parametrize("late", ENDS)
def test_the_end_of_the_saga_before_is_not_that_of_the_saga_that_runs(late: ChildEnded) -> None:
    """A step that was tried again runs another saga; the end of that one decides, and is heard."""
    again = e.ChildStarted("pay", "payment", "saga-3", {"n": 2})
    story = given(*REOPENED, plan=PAID).when(Retry(*WHO)).when(OwnerGone("w2"))
    story.when(RetryDue("pay", Direction.ACTION, 1)).when(action("pay", ChildReady("saga-3", {"n": 2}), 2)).then(again)
    story.when(late).then()
    story.when(ChildEnded("pay", "saga-3", "COMPLETED", 2)).then(e.StepCompleted("pay", 2), e.SagaCompleted())


def test_a_person_may_give_another_input_to_a_saga_that_is_started_anew() -> None:
    """The one that was compensated is past."""
    story = given(*SIGNED, plan=PAID).when(ChildEnded("pay", "saga-2", "COMPENSATED", error="no money"))
    story.when(ReplaceInput("pay", {"n": 2}, *WHO))
    assert story.state.known_to("pay")["input"] == {"n": 2}
    assert story.state.status is SagaStatus.IN_PROGRESS


def test_a_saga_that_is_ready_while_its_parent_is_paused_is_recorded() -> None:
    """It was asked for before; the shell starts it after the pause."""
    story = given(*MAKING, e.SagaPaused(*WHO), plan=ORDER).when(action("pay", READY)).then(CHILD)
    assert open_intents(story.state) == []
    assert story.state.step("pay").status is StepStatus.IN_PROGRESS


def test_an_end_that_comes_while_the_parent_is_paused_is_heard() -> None:
    """And nothing is begun for it."""
    story = given(*RUNNING, e.SagaPaused(*WHO), plan=ORDER).when(ChildEnded("pay", "saga-2", "COMPLETED", 1))
    story.then(e.StepCompleted("pay", 1))


def test_a_making_that_is_not_available_is_tried_again_after_the_crash_too() -> None:
    """Its wait is in the log."""
    story = given(*MAKING, plan=ORDER).when(action("pay", Unavailable("busy"))).when(OwnerGone("w2"))
    assert open_intents(story.state) == [e.StepFailed("pay", 1, "unavailable", "busy", seconds(1))]
    assert story.when(Start("plan-1", {}, "w3")).decided == []
