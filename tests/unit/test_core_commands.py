"""Orders to a saga on its way: cancel, pause, resume, retry now; and what a cancel would undo."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Cancel, Command, Fail, Pause, Resume, Retry, Revoke
from saga_es.core.facts import OwnerGone, RetryDue, Woken
from saga_es.core.operate import Undoing, preview
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.plan import Child, Delay, Plan
from saga_es.core.state import SagaStatus, open_intents
from saga_es.errors import CommandRefused
from tests.support.story import ABC, NOW, STARTED, Past, a_plan, a_step, action, done, given, seconds, undo

WHO = ("Ann", "because")
OUT: Past = [STARTED, *done("a"), e.StepStarted("b", 1)]
WAITING: Past = [*OUT, e.StepFailed("b", 1, "unavailable", "busy", seconds(60))]
TURNED: Past = [*OUT, e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1)]
UNDO_WAITING: Past = [*TURNED, e.CompensationFailed("a", 1, "unknown", "lost", seconds(60))]
PAUSED = e.SagaPaused("Bob", "look")
PAYING = a_plan("a", a_step("pay", kind="pivot", compensation=None))

ENDED: list[tuple[Past, str]] = [
    ([*OUT, e.StepCompleted("b"), e.SagaCompleted()], "it has ended: COMPLETED"),
    ([*TURNED, e.CompensationCompleted("a"), e.SagaCompensated()], "it has ended: COMPENSATED"),
    ([*OUT, e.SagaFailed("why")], "it has ended: FAILED"),
]


@pytest.mark.parametrize(("past", "why"), ENDED)
@pytest.mark.parametrize("order", [Cancel(*WHO), Pause(*WHO), Resume(*WHO), Fail(*WHO)])
def test_a_saga_that_has_ended_refuses_commands(past: Past, why: str, order: Command) -> None:
    """The reason says how it ended."""
    given(*past).refuses(order, why)


# ── Cancel ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cancelled_saga_aborts() -> None:
    """Whoever ordered it, and why, stands in the log, and is what the compensations are told."""
    past: Past = [STARTED, *done("a"), e.StepStarted("b", 1), e.StepFailed("b", 1, "unavailable", "x", seconds(9))]
    story = given(*past).when(Cancel(*WHO)).then(e.SagaCancelled(*WHO), e.CompensationStarted("a", 1))
    assert (story.state.status, story.state.failed_step) == (SagaStatus.COMPENSATING, None)
    assert story.state.error == story.state.cause == "cancelled by Ann: because"


def test_what_is_in_flight_when_a_saga_is_cancelled_is_awaited() -> None:
    """And undone, if it comes to be."""
    story = given(*OUT).when(Cancel(*WHO)).then(e.SagaCancelled(*WHO))
    story.when(action("b", Completed(2))).then(e.StepCompleted("b", 2), e.CompensationStarted("b", 1))


def test_what_waits_to_be_tried_again_when_a_saga_is_cancelled_never_is() -> None:
    """In doubt, it is undone; its timer says nothing any more."""
    past: Past = [*OUT, e.StepFailed("b", 1, "unknown", "lost", seconds(60))]
    story = given(*past).when(Cancel(*WHO)).then(e.SagaCancelled(*WHO), e.CompensationStarted("b", 1))
    story.when(RetryDue("b", Direction.ACTION, 1)).then()


def test_a_step_that_fails_after_a_cancel_does_not_abort_the_saga_again() -> None:
    """It is given up at its first attempt."""
    story = given(*OUT, e.SagaCancelled(*WHO)).when(action("b", Unavailable("busy")))
    story.then(e.StepFailed("b", 1, "unavailable", "busy"), e.CompensationStarted("a", 1))


def test_a_cancel_ends_a_pause() -> None:
    """To undo is what is wanted now."""
    story = given(*WAITING, PAUSED).when(Cancel(*WHO)).then(e.SagaCancelled(*WHO), e.CompensationStarted("a", 1))
    assert story.state.paused is None


def test_a_call_that_nobody_made_again_in_a_pause_is_made_when_the_saga_is_cancelled() -> None:
    """It was out when the worker went: what came of it has to be heard before anything is undone."""
    story = given(*OUT, PAUSED, e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == []
    story.when(Cancel(*WHO)).then(e.SagaCancelled(*WHO))
    assert open_intents(story.state) == [e.StepStarted("b", 1)]


def test_a_cancel_that_another_process_recorded_is_acted_on() -> None:
    """Whoever owns the saga is woken, and looks what there is to do."""
    given(*WAITING, e.SagaCancelled(*WHO)).when(Woken()).then(e.CompensationStarted("a", 1))


def test_a_saga_that_aborted_cannot_be_cancelled() -> None:
    """It goes back already."""
    given(*TURNED).refuses(Cancel(*WHO), "it has aborted already")
    given(*OUT, e.SagaCancelled(*WHO)).refuses(Cancel(*WHO), "it has aborted already")


@pytest.mark.parametrize(
    "pivot", [e.StepStarted("pay", 1), e.StepFailed("pay", 1, "unknown", "lost", seconds(1)), e.StepCompleted("pay")]
)
def test_a_saga_whose_pivot_was_called_cannot_be_cancelled(pivot: e.SagaEvent) -> None:
    """It may be done, and there is no way back from it."""
    why = "its pivot was called: it can only go forward"
    given(STARTED, *done("a"), e.StepStarted("pay", 1), pivot, plan=PAYING).refuses(Cancel(*WHO), why)


# ── Pause and resume ─────────────────────────────────────────────────────────────────────────────────────


def test_a_paused_saga_hears_what_is_in_flight_and_begins_nothing() -> None:
    """The next step starts when it is resumed."""
    story = given(*OUT).when(Pause("Bob", "look")).then(PAUSED)
    assert open_intents(story.state) == []
    story.when(action("b", Completed(2))).then(e.StepCompleted("b", 2))
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO), e.StepStarted("c", 1))


def test_a_retry_that_is_due_in_a_pause_is_made_after_it() -> None:
    """Its timer has rung in vain; the wait still stands, and is set again."""
    story = given(*WAITING, PAUSED).when(RetryDue("b", Direction.ACTION, 1), now=seconds(60)).then()
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO))
    assert open_intents(story.state) == [WAITING[-1]]
    story.when(RetryDue("b", Direction.ACTION, 1)).then(e.StepStarted("b", 2))


def test_a_failure_that_is_heard_in_a_pause_waits_for_its_end() -> None:
    """The saga aborts, and undoes nothing before it is resumed."""
    story = given(*OUT, PAUSED).when(action("b", Rejected("no")))
    story.then(e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"))
    assert story.state.paused == PAUSED
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO), e.CompensationStarted("a", 1))


def test_a_saga_can_be_paused_on_its_way_back() -> None:
    """The compensation that is out is heard; no other is begun, and none is tried again."""
    two: Past = [STARTED, *done("a", "b"), e.StepStarted("c", 1), e.StepFailed("c", 1, "rejected", "no")]
    story = given(*two, e.SagaAborted("c", "no"), e.CompensationStarted("b", 1)).when(Pause("Bob", "look")).then(PAUSED)
    story.when(undo("b", Unknown("lost"))).then(e.CompensationFailed("b", 1, "unknown", "lost", seconds(1)))
    story.when(RetryDue("b", Direction.COMPENSATION, 1)).then()
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO))
    story.when(RetryDue("b", Direction.COMPENSATION, 1)).then(e.CompensationStarted("b", 2))
    story.when(Pause("Bob", "look")).when(undo("b", Completed(), 2)).then(e.CompensationCompleted("b"))
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO), e.CompensationStarted("a", 1))


def test_a_last_answer_that_is_heard_in_a_pause_ends_the_saga_after_it() -> None:
    """Nobody finds a paused saga ended."""
    story = given(STARTED, *done("a", "b"), e.StepStarted("c", 1), PAUSED).when(action("c", Completed(3)))
    story.then(e.StepCompleted("c", 3)).when(Resume(*WHO)).then(e.SagaResumed(*WHO), e.SagaCompleted())


def test_a_paused_saga_that_is_taken_over_stays_paused() -> None:
    """What was out is called again when it is resumed."""
    story = given(*OUT, PAUSED).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == []
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO))
    assert open_intents(story.state) == [e.StepStarted("b", 1)]


def test_a_paused_saga_cannot_be_paused() -> None:
    """The reason says who did it, and why."""
    given(*OUT, PAUSED).refuses(Pause(*WHO), "it is paused, by Bob: look")


def test_a_saga_that_is_not_paused_cannot_be_resumed() -> None:
    """Also not a second time."""
    given(*OUT).refuses(Resume(*WHO), "it is not paused")
    given(*OUT, PAUSED, e.SagaResumed(*WHO)).refuses(Resume(*WHO), "it is not paused")


# ── Retry now ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_to_be_tried_again_can_be_tried_now() -> None:
    """Its wait is over at the time of the order, and the attempt is counted like any."""
    story = given(*WAITING).when(Retry(*WHO)).then(e.RetryOrdered(*WHO, NOW))
    (wait,) = open_intents(story.state)
    assert wait == e.StepFailed("b", 1, "unavailable", "busy", NOW)
    story.when(RetryDue("b", Direction.ACTION, 1)).then(e.StepStarted("b", 2))


def test_a_compensation_that_waits_can_be_tried_now() -> None:
    """Backward as forward."""
    story = given(*UNDO_WAITING).when(Retry(*WHO)).then(e.RetryOrdered(*WHO, NOW))
    assert open_intents(story.state) == [e.CompensationFailed("a", 1, "unknown", "lost", NOW)]


def test_all_that_waits_is_tried_now() -> None:
    """An order is for the saga, not for one of its steps."""
    plan = a_plan(a_step("a", after=()), a_step("b", after=()))
    waits = [e.StepFailed(name, 1, "unavailable", "busy", seconds(60)) for name in ("a", "b")]
    story = given(STARTED, e.StepStarted("a", 1), e.StepStarted("b", 1), *waits, plan=plan).when(Retry(*WHO))
    assert [getattr(wait, "retry_at", None) for wait in open_intents(story.state)] == [NOW, NOW]


def test_a_saga_in_which_nothing_waits_refuses_a_retry() -> None:
    """Its call is out."""
    given(*OUT).refuses(Retry(*WHO), "none of its steps waits for a retry")


def test_a_paused_saga_refuses_a_retry() -> None:
    """It has to be resumed first."""
    given(*WAITING, PAUSED).refuses(Retry(*WHO), "it is paused, by Bob: look")


@pytest.mark.parametrize(("past", "why"), ENDED[:2])
def test_a_saga_that_came_to_its_end_refuses_a_retry(past: Past, why: str) -> None:
    """There is nothing to try."""
    given(*past).refuses(Retry(*WHO), why)


# ── What a cancel would undo ─────────────────────────────────────────────────────────────────────────────


def foreseen(*events: e.SagaEvent, plan: Plan = ABC) -> list[tuple[str, str]]:
    return [(undoing.step, undoing.why) for undoing in preview(given(*events, plan=plan).state)]


def test_a_preview_says_what_would_be_undone_and_why() -> None:
    """Last first: what is out, what is in doubt, what is done."""
    assert preview(given(*OUT).state) == [Undoing("b", "b", "out"), Undoing("a", "a", "done")]
    assert foreseen(*OUT, e.StepFailed("b", 1, "unknown", "lost", seconds(1))) == [("b", "in doubt"), ("a", "done")]


@pytest.mark.parametrize("at_rest", [[PAUSED], []])
def test_a_preview_names_what_is_in_doubt_and_neither_out_nor_waiting(at_rest: Past) -> None:
    """Its worker was lost, and a probe could not say; while the saga is paused, or its next attempt not begun."""
    plan = a_plan("a", a_step("b", probe=True), "c")
    lost = [*OUT, e.SagaTakenOver("w-2", "w-1"), e.ProbeStarted("b", 1), *at_rest, e.ProbeAnswered("b")]
    assert foreseen(*lost, plan=plan) == [("b", "in doubt"), ("a", "done")]


def test_a_preview_leaves_out_what_did_nothing() -> None:
    """Not available is an answer."""
    assert foreseen(*WAITING) == [("a", "done")]
    assert foreseen(STARTED) == []


def test_a_preview_leaves_out_what_cannot_be_undone() -> None:
    """A step without a compensation, and one that only waits."""
    plan = a_plan(a_step("a", compensation=None), a_step("b", compensation=None, work=Delay(5)))
    assert foreseen(STARTED, *done("a"), e.WaitStarted("b", seconds(5)), plan=plan) == []


def test_a_preview_leaves_out_a_saga_that_is_not_started() -> None:
    """To make its input has no effect."""
    plan = a_plan("a", a_step("pay", work=Child("payment")))
    assert foreseen(STARTED, *done("a"), e.StepStarted("pay", 1), plan=plan) == [("a", "done")]


def test_a_preview_goes_by_what_depends_on_what() -> None:
    """Beside each other, the later is undone first; a chain keeps its order, though it completed meanwhile."""
    plan = a_plan(
        a_step("a", after=()), a_step("b", after=("a",)), a_step("x", after=()), a_step("y", after=("x",)), "z"
    )
    assert [step for step, _ in foreseen(STARTED, *done("a", "x", "b", "y"), plan=plan)] == ["y", "b", "x", "a"]
    assert [step for step, _ in foreseen(STARTED, *done("x", "a", "b"), plan=plan)] == ["b", "x", "a"]


@pytest.mark.parametrize(("past", "why"), [*ENDED, (TURNED, "it has aborted already")])
def test_there_is_no_preview_of_what_cannot_be_cancelled(past: Past, why: str) -> None:
    """For the same reason."""
    with pytest.raises(CommandRefused) as caught:
        preview(given(*past).state)
    assert caught.value.why == why


# ── Revoke: the parent's order ───────────────────────────────────────────────────────────────────────────


def test_a_saga_whose_parent_aborts_does_so_too() -> None:
    """As if a person had cancelled it."""
    story = (
        given(*WAITING)
        .when(Revoke("saga saga-0", "no"))
        .then(e.SagaCancelled("saga saga-0", "no"), e.CompensationStarted("a", 1))
    )
    story.when(Revoke("saga saga-0", "no")).then()


@pytest.mark.parametrize("past", [ENDED[1][0], ENDED[2][0]])
def test_a_saga_that_is_undone_or_needs_a_person_is_left_as_it_is(past: Past) -> None:
    """Its parent is told how it ended."""
    given(*past).when(Revoke("saga saga-0", "no")).then()


def test_a_saga_whose_pivot_was_called_is_left_as_it_is() -> None:
    """On its way, and when it has completed."""
    past: Past = [STARTED, *done("a"), e.StepStarted("pay", 1)]
    given(*past, plan=PAYING).when(Revoke("saga saga-0", "no")).then()
    given(*past, e.StepCompleted("pay"), e.SagaCompleted(), plan=PAYING).when(Revoke("saga saga-0", "no")).then()
