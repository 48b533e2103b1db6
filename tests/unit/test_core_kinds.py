"""The pivot: before it the saga can go back, after it the saga only goes forward."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from saga_es import Saga
from saga_es.core import events as e
from saga_es.core.facts import RetryDue
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.plan import StepPlan
from saga_es.errors import DefinitionError
from tests.support.story import ONCE, STARTED, THRICE, a_plan, a_step, action, done, given, seconds

PIVOT = StepPlan(name="pay", title="pay", kind="pivot", retry=ONCE, compensation=None)
SHIP = StepPlan(name="ship", title="ship", kind="retriable", retry=THRICE, compensation=None)
MAIL = StepPlan(name="mail", title="mail", kind="retriable", retry=THRICE, compensation=None, after=("pay",))
ORDER = a_plan(a_step("book"), PIVOT, SHIP)
BOTH = a_plan(a_step("book"), PIVOT, SHIP, MAIL)

PAYING = [STARTED, *done("book"), e.StepStarted("pay", 1)]
SHIPPING = [*PAYING, e.StepCompleted("pay", 0), e.StepStarted("ship", 1)]


def test_before_the_pivot_is_done_the_saga_can_go_back() -> None:
    """A refused pivot aborts the saga like any other step."""
    story = given(*PAYING, plan=ORDER).when(action("pay", Rejected("no")))
    story.then(e.StepFailed("pay", 1, "rejected", "no"), e.SagaAborted("pay", "no"), e.CompensationStarted("book", 1))


def test_after_the_pivot_a_step_is_tried_until_it_succeeds() -> None:
    """The policy says three attempts; the hundredth failure is still followed by another try, at the policy's pace."""
    past = [*SHIPPING[:-1], e.StepStarted("ship", 100)]
    story = given(*past, plan=ORDER).when(action("ship", Unavailable("busy"), 100))
    story.then(e.StepFailed("ship", 100, "unavailable", "busy", seconds(30)))
    story.when(RetryDue("ship", Direction.ACTION, 100)).then(e.StepStarted("ship", 101))
    story.when(action("ship", Completed(), 101)).then(e.StepCompleted("ship"), e.SagaCompleted())


def test_a_refusal_after_the_pivot_needs_a_person() -> None:
    """There is no way back, and no use in trying again."""
    story = given(*SHIPPING, plan=ORDER).when(action("ship", Rejected("no such street")))
    reason = "step 'ship' must succeed and was refused: no such street"
    story.then(e.StepFailed("ship", 1, "rejected", "no such street"), e.SagaFailed(reason))


def test_a_refusal_after_the_pivot_waits_for_the_others_that_are_out() -> None:
    """The saga fails when the mail has been sent, not before."""
    story = given(*SHIPPING, e.StepStarted("mail", 1), plan=BOTH).when(action("ship", Rejected("no")))
    story.then(e.StepFailed("ship", 1, "rejected", "no"))
    story.when(action("mail", Completed())).then(
        e.StepCompleted("mail"), e.SagaFailed("step 'ship' must succeed and was refused: no")
    )


def test_a_pivot_that_may_have_happened_and_cannot_be_undone_needs_a_person() -> None:
    """Going back would undo the rest of a deal that may be done; going forward would ship what may be unpaid."""
    story = given(*PAYING, plan=ORDER).when(action("pay", Unknown("lost")))
    reason = "step 'pay' cannot be undone, and may have happened: lost"
    story.then(e.StepFailed("pay", 1, "unknown", "lost"), e.SagaFailed(reason))


def test_a_pivot_that_may_have_happened_is_undone_if_it_can_be() -> None:
    """With a compensation of its own it is compensated like any step in doubt."""
    plan = a_plan(a_step("book"), StepPlan(name="pay", title="pay", kind="pivot", retry=ONCE))
    story = given(*PAYING, plan=plan).when(action("pay", Unknown("lost")))
    story.then(e.StepFailed("pay", 1, "unknown", "lost"), e.SagaAborted("pay", "lost"), e.CompensationStarted("pay", 1))


def test_a_pivot_with_nothing_before_it_leaves_nothing_to_undo() -> None:
    """Refused as the first step: the saga is compensated at once."""
    story = given(STARTED, e.StepStarted("pay", 1), plan=a_plan(PIVOT)).when(action("pay", Rejected("no")))
    story.then(e.StepFailed("pay", 1, "rejected", "no"), e.SagaAborted("pay", "no"), e.SagaCompensated())


# ── Definitions that break the order are refused ─────────────────────────────────────────────────────────


def step(name: str) -> Callable[[], None]:
    def do() -> None:
        """Nothing."""

    do.__name__ = name
    return do


def a_saga(**kinds: str) -> Saga:
    saga = Saga("order")
    for name, kind in kinds.items():
        saga.step(kind=kind, compensation=None)(step(name))  # type: ignore[call-overload]  # kinds as text
    return saga


def test_the_order_of_kinds_is_compensatable_pivot_retriable() -> None:
    """Such a saga is built, and its plan says so."""
    plan = a_saga(book="compensatable", pay="pivot", ship="retriable").plan
    assert [planned.kind for planned in plan.steps] == ["compensatable", "pivot", "retriable"]


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"ship": "retriable"}, "'ship' is retriable, so it must come after a pivot"),
        ({"pay": "pivot", "book": "compensatable"}, "'book' may fail when the pivot 'pay' is done"),
        ({"pay": "pivot", "sign": "pivot"}, "2 pivots, pay and sign"),
    ],
)
def test_a_definition_that_breaks_the_order_is_refused(kinds: dict[str, str], said: str) -> None:
    """The message names the step."""
    with pytest.raises(DefinitionError, match=said):
        _ = a_saga(**kinds).plan


def test_a_step_beside_the_pivot_is_refused() -> None:
    """It may fail when the pivot is done, just like one behind it."""
    saga = a_saga(book="compensatable", pay="pivot")
    saga.step(after=["book"], compensation=None)(step("seat"))
    with pytest.raises(DefinitionError, match="'seat' may fail when the pivot 'pay' is done"):
        _ = saga.plan


def test_a_retriable_step_has_no_compensation() -> None:
    """It is never undone; one that says otherwise is refused."""
    saga = a_saga(pay="pivot")

    @saga.step(kind="retriable")
    def ship() -> None:
        """Ship."""

    with pytest.raises(DefinitionError, match="'ship'"):
        saga.compensates(ship)(lambda: None)
