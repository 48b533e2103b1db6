"""A saga that is FAILED and a person who helps: retry, skip, another input, resolved by hand."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Cancel, Command, ReplaceInput, Resolve, Retry, Revoke, Skip
from saga_es.core.facts import CannotGoOn, OwnerGone, RetryDue, Woken
from saga_es.core.operate import still_open
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.plan import Delay, Plan, RetryPolicy, StepPlan
from saga_es.core.state import SagaStatus, StepStatus, open_intents
from tests.support.story import (
    ABC,
    NOW,
    ONCE,
    STARTED,
    THRICE,
    Past,
    Story,
    a_plan,
    a_step,
    action,
    done,
    given,
    seconds,
    undo,
)

WHO = ("Ann", "set right")
TAKEN = e.SagaTakenOver("w2")

PAY = a_step("pay", kind="pivot", compensation=None, retry=ONCE)
SHIP = a_step("ship", kind="retriable", compensation=None)
ORDER = a_plan("book", PAY, SHIP)
PAID: Past = [STARTED, *done("book", "pay")]
REFUSED: Past = [
    *PAID,
    e.StepStarted("ship", 1),
    e.StepFailed("ship", 1, "rejected", "no such street"),
    e.SagaFailed("why"),
]

TURNED: Past = [STARTED, *done("a", "b"), e.StepStarted("c", 1), e.StepFailed("c", 1, "rejected", "no")]
UNDOING: Past = [*TURNED, e.SagaAborted("c", "no"), e.CompensationStarted("b", 3)]
STUCK: Past = [*UNDOING, e.CompensationFailed("b", 3, "unknown", "lost"), e.SagaFailed("why")]


def reopened(status: str) -> e.SagaReopened:
    error = "no" if status == "COMPENSATING" else None
    return e.SagaReopened(status, *WHO, NOW, error)  # type: ignore[arg-type]  # statuses as text


# ── Which orders, when ───────────────────────────────────────────────────────────────────────────────────

FOR_FAILED: list[Command] = [Skip("a", *WHO), ReplaceInput("a", {}, *WHO), Resolve(*WHO)]


@pytest.mark.parametrize("order", FOR_FAILED)
@pytest.mark.parametrize(
    ("past", "status"),
    [
        ([STARTED, e.StepStarted("a", 1)], "IN_PROGRESS"),
        (UNDOING, "COMPENSATING"),
        ([STARTED, *done("a", "b", "c"), e.SagaCompleted()], "COMPLETED"),
        ([*UNDOING, e.CompensationCompleted("b"), e.SagaCompensated()], "COMPENSATED"),
    ],
)
def test_some_commands_are_only_for_a_saga_that_is_failed(past: Past, status: str, order: Command) -> None:
    """A saga that helps itself is not to be helped."""
    given(*past).refuses(order, f"it is {status}; this is for a saga that is FAILED")


@pytest.mark.parametrize("order", [Skip("a", *WHO), ReplaceInput("a", {}, *WHO)])
def test_only_what_stands_in_the_way_can_be_skipped_or_replaced(order: Command) -> None:
    """The reason names what does."""
    given(*STUCK).refuses(order, "step 'a' does not block it; it is blocked by: b")


def test_a_step_that_the_saga_has_not_cannot_be_skipped() -> None:
    """A misspelt name is told."""
    given(*STUCK).refuses(Skip("ab", *WHO), "it has no step 'ab'; it is blocked by: b")


def test_a_failed_saga_that_nothing_stands_in_the_way_of_says_so() -> None:
    """It may be retried, or resolved."""
    given(STARTED, *done("a"), e.SagaFailed("why")).refuses(
        Skip("a", *WHO), "step 'a' does not block it; it is blocked by: no step"
    )


@pytest.mark.parametrize("order", [Retry(*WHO), Skip("b", *WHO), ReplaceInput("b", {}, *WHO)])
def test_a_saga_that_is_opened_again_is_nobodys_until_somebody_takes_it(order: Command) -> None:
    """Any process may record the order; it calls nobody."""
    story = given(*STUCK).when(order)
    assert (story.state.status, story.state.owner) == (SagaStatus.COMPENSATING, None)
    story.when(OwnerGone("w2"))
    assert story.decided[0] == TAKEN


# ── Retry ────────────────────────────────────────────────────────────────────────────────────────────────


def again(story: Story, step: str, direction: Direction, attempt: int) -> Story:
    story.when(Retry(*WHO)).when(OwnerGone("w2")).then(TAKEN)
    return story.when(RetryDue(step, direction, attempt))


def test_a_step_that_was_refused_can_be_tried_again() -> None:
    """Its attempts are counted on, and the error is gone from the saga."""
    story = given(*REFUSED, plan=ORDER).when(Retry(*WHO)).then(reopened("IN_PROGRESS"))
    assert (story.state.status, story.state.error) == (SagaStatus.IN_PROGRESS, None)
    story.when(OwnerGone("w2")).then(TAKEN)
    assert open_intents(story.state) == [e.StepFailed("ship", 1, "rejected", "no such street", NOW)]
    story.when(RetryDue("ship", Direction.ACTION, 1)).then(e.StepStarted("ship", 2))
    story.when(action("ship", Completed(), 2)).then(e.StepCompleted("ship"), e.SagaCompleted())


def test_a_compensation_that_was_given_up_can_be_tried_again() -> None:
    """The saga goes on back from there."""
    story = again(given(*STUCK), "b", Direction.COMPENSATION, 3).then(e.CompensationStarted("b", 4))
    story.when(undo("b", Completed(), 4)).then(e.CompensationCompleted("b"), e.CompensationStarted("a", 1))


def test_what_is_tried_again_has_all_the_attempts_of_its_policy() -> None:
    """And its waits: those before are forgiven, not forgotten."""
    story = again(given(*STUCK), "b", Direction.COMPENSATION, 3).when(undo("b", Unknown("lost"), 4))
    story.then(e.CompensationFailed("b", 4, "unknown", "lost", seconds(1)))
    for attempt in (4, 5):
        story.when(RetryDue("b", Direction.COMPENSATION, attempt)).when(undo("b", Unknown("lost"), attempt + 1))
    failed, ended = story.decided
    assert (failed, type(ended)) == (e.CompensationFailed("b", 6, "unknown", "lost"), e.SagaFailed)


def test_a_step_that_is_tried_again_has_all_its_attempts_too() -> None:
    """A pivot in doubt, that may be tried twice, is tried twice more."""
    twice = RetryPolicy(attempts=2, first_delay_s=1, jitter=0)
    plan = a_plan(a_step("pay", kind="pivot", compensation=None, retry=twice))
    past: Past = [STARTED, e.StepStarted("pay", 2), e.StepFailed("pay", 2, "unknown", "lost"), e.SagaFailed("why")]
    story = again(given(*past, plan=plan), "pay", Direction.ACTION, 2).when(action("pay", Unknown("lost"), 3))
    story.then(e.StepFailed("pay", 3, "unknown", "lost", seconds(1))).when(RetryDue("pay", Direction.ACTION, 3))
    story.when(action("pay", Unknown("lost"), 4))
    assert isinstance(story.decided[-1], e.SagaFailed)


def test_a_saga_can_be_opened_again_more_than_once() -> None:
    """As often as a person has the patience."""
    story = given(*STUCK)
    for attempt in (3, 4, 5):
        again(story, "b", Direction.COMPENSATION, attempt).then(e.CompensationStarted("b", attempt + 1))
        story.when(undo("b", Rejected("no"), attempt + 1))
        assert story.state.status is SagaStatus.FAILED
    story.when(Retry(*WHO)).then(reopened("COMPENSATING"))
    story.when(Retry(*WHO))
    assert [type(event).__name__ for event in story.decided] == ["RetryOrdered"]


def test_forgiven_attempts_of_a_step_are_not_forgiven_to_its_compensation() -> None:
    """They are counted apart."""
    plan = a_plan("a", "b")
    past: Past = [STARTED, e.StepStarted("a", 3), e.StepFailed("a", 3, "unknown", "x", None), e.SagaFailed("why")]
    story = again(given(*past, plan=plan), "a", Direction.ACTION, 3).then(e.StepStarted("a", 4))
    story.when(action("a", Rejected("no"), 4))
    assert story.decided[-1] == e.CompensationStarted("a", 1)
    assert story.state.step("a").forgiven == 0


def test_the_compensations_are_told_the_same_reason_after_a_reopening() -> None:
    """Why the saga aborted, not why it got stuck."""
    story = given(*STUCK)
    assert (story.state.error, story.state.cause) == ("why", "no")
    story.when(Retry(*WHO))
    assert (story.state.error, story.state.cause) == ("no", "no")


def test_a_saga_whose_code_was_gone_goes_on_where_it_was() -> None:
    """What was out is called again, like after any crash."""
    story = given(STARTED, *done("a"), e.StepStarted("b", 1)).when(CannotGoOn("its code is gone")).when(Retry(*WHO))
    story.when(OwnerGone("w2")).then(TAKEN)
    assert open_intents(story.state) == [e.StepStarted("b", 1)]


def test_other_steps_that_waited_when_the_saga_failed_are_tried_too() -> None:
    """None is left behind."""
    plan = a_plan(PAY, a_step("ship", kind="retriable", compensation=None, after=("pay",)), _mail())
    past: Past = [STARTED, *done("pay"), e.StepStarted("ship", 1), e.StepStarted("mail", 1)]
    waiting: Past = [*past, e.StepFailed("mail", 1, "unavailable", "busy", seconds(60))]
    story = given(*waiting, plan=plan).when(action("ship", Rejected("no")))
    assert isinstance(story.decided[-1], e.SagaFailed)
    story.when(Retry(*WHO)).when(OwnerGone("w2"))
    assert {intent.step for intent in open_intents(story.state)} == {"ship", "mail"}


def _mail() -> StepPlan:
    return a_step("mail", kind="retriable", compensation=None, after=("pay",), retry=THRICE)


def test_a_saga_that_failed_while_it_was_paused_is_not_paused_when_it_is_opened_again() -> None:
    """Whoever wants it tried wants it to go on."""
    past: Past = [STARTED, e.StepStarted("a", 1), e.SagaPaused("Bob", "look"), e.SagaFailed("its code is gone")]
    story = given(*past).when(Retry(*WHO)).when(OwnerGone("w2")).then(TAKEN)
    assert open_intents(story.state) == [e.StepStarted("a", 1)]


# ── Skip ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_that_stands_in_the_way_can_be_skipped() -> None:
    """A person takes it for done."""
    story = given(*REFUSED, plan=ORDER).when(Skip("ship", *WHO))
    story.then(e.StepSkipped("ship", *WHO), reopened("IN_PROGRESS"))
    story.when(OwnerGone("w2")).then(TAKEN, e.SagaCompleted())


def test_a_compensation_that_stands_in_the_way_can_be_skipped() -> None:
    """A person takes the step for undone; the saga goes on back."""
    story = given(*STUCK).when(Skip("b", *WHO)).then(e.CompensationSkipped("b", *WHO), reopened("COMPENSATING"))
    story.when(OwnerGone("w2")).then(TAKEN, e.CompensationStarted("a", 1))
    assert story.state.effects == ("a",)


def test_a_pivot_that_may_have_happened_can_be_taken_for_done() -> None:
    """A person looked, and says so: the saga goes on forward."""
    story = given(STARTED, *done("book"), e.StepStarted("pay", 1), plan=ORDER).when(action("pay", Unknown("lost")))
    assert story.state.status is SagaStatus.FAILED
    story.when(Skip("pay", *WHO)).when(OwnerGone("w2")).then(TAKEN, e.StepStarted("ship", 1))


def test_the_other_that_stands_in_the_way_is_tried_again_when_one_is_skipped() -> None:
    """A skip is for one step."""
    plan = a_plan(PAY, a_step("ship", kind="retriable", compensation=None, after=("pay",)), _mail())
    failed = [e.StepFailed(name, 1, "rejected", "no") for name in ("ship", "mail")]
    past: Past = [
        STARTED,
        *done("pay"),
        e.StepStarted("ship", 1),
        e.StepStarted("mail", 1),
        *failed,
        e.SagaFailed("why"),
    ]
    story = given(*past, plan=plan)
    assert still_open(story.state) == ["ship", "mail"]
    story.when(Skip("ship", *WHO)).when(OwnerGone("w2"))
    story.when(RetryDue("mail", Direction.ACTION, 1)).then(e.StepStarted("mail", 2))
    story.when(action("mail", Completed(), 2)).then(e.StepCompleted("mail"), e.SagaCompleted())


def test_a_step_whose_code_is_gone_can_be_skipped() -> None:
    """Also one that only waited: its time then means nothing any more."""
    plan = a_plan(a_step("nap", work=Delay(5), compensation=None, after=()), a_step("a", after=()))
    past: Past = [STARTED, e.WaitStarted("nap", seconds(5)), e.StepStarted("a", 1), e.SagaFailed("its code is gone")]
    story = given(*past, plan=plan).when(Skip("nap", *WHO)).when(OwnerGone("w2")).then(TAKEN)
    story.when(Woken(), now=seconds(5)).then()
    assert story.state.step("nap").status is StepStatus.SKIPPED


def test_a_step_that_was_awaited_on_the_way_back_can_be_skipped() -> None:
    """Its code is gone, so nobody will ever answer; the person says that it is nothing."""
    plan = a_plan(a_step("a", after=()), a_step("b", after=()))
    past: Past = [STARTED, e.StepStarted("a", 1), e.StepStarted("b", 1), e.StepFailed("b", 1, "rejected", "no")]
    story = given(*past, e.SagaAborted("b", "no"), e.SagaFailed("the code of step 'a' is gone"), plan=plan)
    story.when(Skip("a", *WHO)).then(e.StepSkipped("a", *WHO), reopened("COMPENSATING"))
    story.when(OwnerGone("w2")).then(TAKEN, e.SagaCompensated())


def test_what_was_skipped_can_be_followed_by_a_retry_of_what_fails_next() -> None:
    """Each order takes the saga as it finds it."""
    story = given(*STUCK).when(Skip("b", *WHO)).when(OwnerGone("w2")).when(undo("a", Rejected("no")))
    assert story.state.status is SagaStatus.FAILED
    again(story, "a", Direction.COMPENSATION, 1).then(e.CompensationStarted("a", 2))


# ── Another input ────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_can_be_given_another_input_and_is_tried_again() -> None:
    """The input is the step's alone."""
    story = given(*REFUSED, plan=ORDER).when(ReplaceInput("ship", {"street": "Elm"}, *WHO))
    story.then(e.InputReplaced("ship", {"street": "Elm"}, *WHO), reopened("IN_PROGRESS"))
    assert story.state.known_to("ship")["input"] == {"street": "Elm"}
    assert story.state.known_to("book")["input"] == {"name": "Show"}
    story.when(OwnerGone("w2")).when(RetryDue("ship", Direction.ACTION, 1)).then(e.StepStarted("ship", 2))


def test_a_compensation_can_be_given_another_input() -> None:
    """What undoes a step may ask for it, too."""
    story = given(*STUCK).when(ReplaceInput("b", {"n": 2}, *WHO))
    story.then(e.InputReplaced("b", {"n": 2}, *WHO), reopened("COMPENSATING"))
    assert story.state.known_to("b")["input"] == {"n": 2}


def test_an_input_that_was_replaced_stays_so() -> None:
    """On every attempt after that."""
    story = given(*REFUSED, plan=ORDER).when(ReplaceInput("ship", {}, *WHO)).when(OwnerGone("w2"))
    story.when(RetryDue("ship", Direction.ACTION, 1)).when(action("ship", Unavailable("busy"), 2))
    assert story.state.known_to("ship")["input"] == {}


# ── Resolved by hand ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("past", "plan", "status"), [(REFUSED, ORDER, "COMPLETED"), (STUCK, ABC, "COMPENSATED")], ids=["forward", "back"]
)
def test_a_saga_can_be_called_ended(past: Past, plan: Plan, status: str) -> None:
    """Where it was going, if the person does not say otherwise."""
    story = given(*past, plan=plan).when(Resolve(*WHO))
    story.then(e.SagaResolved(status, *WHO))  # type: ignore[arg-type]  # statuses as text
    assert (story.state.status, open_intents(story.state)) == (SagaStatus(status), [])
    story.when(OwnerGone("w2")).then()


@pytest.mark.parametrize("status", ["COMPLETED", "COMPENSATED"])
def test_a_person_may_say_how_a_saga_ended(status: str) -> None:
    """What was done by hand is not for the log to guess."""
    story = given(*STUCK).when(Resolve(*WHO, status))  # type: ignore[arg-type]  # statuses as text
    assert story.state.status == status


# ── Revoked by its parent, after it completed ────────────────────────────────────────────────────────────

COMPLETED: Past = [STARTED, *done("a", "b", "c"), e.SagaCompleted()]
REVOKED = e.SagaReopened("COMPENSATING", "saga saga-0", "no", NOW, "no")


def test_a_saga_that_completed_is_undone_when_its_parent_aborts() -> None:
    """All of it, last first, by whoever takes it."""
    story = given(*COMPLETED).when(Revoke("saga saga-0", "no")).then(REVOKED)
    story.when(Revoke("saga saga-0", "no")).then()
    story.when(OwnerGone("w2")).then(TAKEN, e.CompensationStarted("c", 1))
    assert story.state.cause == "no"


def test_a_saga_that_is_being_undone_after_its_end_cannot_be_cancelled() -> None:
    """It goes back already."""
    given(*COMPLETED, REVOKED).refuses(Cancel(*WHO), "it has aborted already")


@pytest.mark.parametrize(
    ("failed", "undone"),
    [
        (e.StepFailed("b", 1, "unknown", "lost", seconds(60)), "b"),
        (e.StepFailed("b", 1, "unavailable", "busy", seconds(60)), "a"),
        (e.StepFailed("b", 1, "unknown", "lost"), "b"),
    ],
)
def test_a_saga_that_was_called_complete_by_hand_is_undone_too(failed: e.SagaEvent, undone: str) -> None:
    """What was given up or waited then is not tried again on the way back; in doubt, it is undone."""
    past: Past = [STARTED, *done("a"), e.StepStarted("b", 1), failed, e.SagaFailed("why")]
    story = given(*past).when(Resolve(*WHO)).when(Revoke("saga saga-0", "no")).then(REVOKED)
    story.when(OwnerGone("w2")).then(TAKEN, e.CompensationStarted(undone, 1))
    story.when(RetryDue("b", Direction.ACTION, 1)).then()
