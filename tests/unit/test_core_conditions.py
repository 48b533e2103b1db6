"""Conditions: a step that is not wanted is skipped, and that is recorded."""

from __future__ import annotations

from saga_es.core import events as e
from saga_es.core.facts import RetryDue
from saga_es.core.outcomes import Completed, Direction, Rejected, Skipped, Unavailable
from saga_es.core.plan import Delay, Signal
from saga_es.core.state import StepStatus
from tests.support.story import START, STARTED, Past, a_plan, a_step, action, done, given, seconds

GIFT = a_step("gift", condition=True)
ORDER = a_plan("book", GIFT, "ship")
ASKING: Past = [STARTED, *done("book"), e.StepStarted("gift", 1)]


def test_a_step_that_is_not_wanted_is_skipped_and_the_saga_goes_on() -> None:
    """The skip and the next intent are one append."""
    story = (
        given(*ASKING, plan=ORDER).when(action("gift", Skipped())).then(e.StepSkipped("gift"), e.StepStarted("ship", 1))
    )
    assert story.state.step("gift").status is StepStatus.SKIPPED


def test_a_step_that_is_wanted_is_done_like_any_other() -> None:
    """The condition and the call are one intent."""
    given(*ASKING, plan=ORDER).when(action("gift", Completed(1))).then(
        e.StepCompleted("gift", 1), e.StepStarted("ship", 1)
    )


def test_a_saga_whose_last_step_is_skipped_is_complete() -> None:
    """Skipped is done."""
    given(STARTED, *done("book"), e.StepStarted("gift", 1), plan=a_plan("book", GIFT)).when(
        action("gift", Skipped())
    ).then(e.StepSkipped("gift"), e.SagaCompleted())


def test_a_skipped_step_has_no_result() -> None:
    """Later steps that ask for it get None; the saga's results do not name it."""
    story = given(*ASKING, e.StepSkipped("gift"), e.StepStarted("ship", 1), plan=ORDER).when(
        action("ship", Completed(2))
    )
    assert story.state.known_to("ship")["gift"] is None
    assert story.state.results == {"book": "book!", "ship": 2}


def test_a_skipped_step_is_not_undone() -> None:
    """Nothing was done."""
    story = given(*ASKING, e.StepSkipped("gift"), e.StepStarted("ship", 1), plan=ORDER).when(
        action("ship", Rejected("no"))
    )
    story.then(e.StepFailed("ship", 1, "rejected", "no"), e.SagaAborted("ship", "no"), e.CompensationStarted("book", 1))


def test_a_condition_that_cannot_be_told_is_asked_again() -> None:
    """It has called nobody, so there is nothing in doubt."""
    story = given(*ASKING, plan=ORDER).when(action("gift", Unavailable("KeyError")))
    story.then(e.StepFailed("gift", 1, "unavailable", "KeyError", seconds(1)))
    story.when(RetryDue("gift", Direction.ACTION, 1)).then(e.StepStarted("gift", 2))
    story.when(action("gift", Skipped(), 2)).then(e.StepSkipped("gift"), e.StepStarted("ship", 1))
    assert not story.state.step("gift").in_doubt


def test_a_condition_that_refuses_aborts_the_saga() -> None:
    """It can say that the whole saga is not to be."""
    story = given(*ASKING, plan=ORDER).when(action("gift", Rejected("no")))
    story.then(e.StepFailed("gift", 1, "rejected", "no"), e.SagaAborted("gift", "no"), e.CompensationStarted("book", 1))


def test_a_step_that_is_skipped_after_the_abort_is_not_undone_either() -> None:
    """Its answer was awaited, and says that there is nothing."""
    plan = a_plan(a_step("book", after=()), a_step("gift", after=(), condition=True))
    past: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("gift", 1)]
    story = given(*past, plan=plan).when(action("book", Rejected("no")))
    story.then(e.StepFailed("book", 1, "rejected", "no"), e.SagaAborted("book", "no"))
    story.when(action("gift", Skipped())).then(e.StepSkipped("gift"), e.SagaCompensated())


# ── Waits that may not be wanted ─────────────────────────────────────────────────────────────────────────

NAP = a_plan(a_step("nap", work=Delay(5), compensation=None, condition=True), "ship")
APPROVAL = a_plan(a_step("ok", work=Signal(60), compensation=None, condition=True), "ship")


def test_a_wait_with_a_condition_asks_first() -> None:
    """The condition is a call of the shell; the wait begins when it says yes."""
    story = given(plan=NAP).when(START).then(STARTED, e.StepStarted("nap", 1))
    story.when(action("nap", Completed())).then(e.WaitStarted("nap", seconds(5)))


def test_a_wait_that_is_not_wanted_is_skipped() -> None:
    """Nobody has to give the signal."""
    story = given(STARTED, e.StepStarted("ok", 1), plan=APPROVAL).when(action("ok", Skipped()))
    story.then(e.StepSkipped("ok"), e.StepStarted("ship", 1))


def test_a_wait_that_is_wanted_only_after_the_abort_is_skipped() -> None:
    """There is nothing to wait for any more."""
    plan = a_plan(a_step("book", after=()), a_step("nap", after=(), work=Delay(5), compensation=None, condition=True))
    past: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("nap", 1), e.StepFailed("book", 1, "rejected", "no")]
    story = given(*past, e.SagaAborted("book", "no"), plan=plan).when(action("nap", Completed()))
    story.then(e.StepSkipped("nap"), e.SagaCompensated())
