"""Times of the whole saga: when it begins, and the deadline by which it aborts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Cancel, Command, Resume, Revoke
from saga_es.core.facts import OwnerGone, RetryDue, Start, Woken
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.plan import Plan, RetryPolicy
from saga_es.core.state import SagaStatus, expires, open_intents
from tests.support.story import NOW, START, Past, a_plan, a_step, action, done, given, seconds, undo

# ── The deadline ─────────────────────────────────────────────────────────────────────────────────────────

PLAN = a_plan("a", "b", deadline_s=60)
ENDLESS = RetryPolicy(attempts=99, first_delay_s=50, factor=1, jitter=0)


def a_start(
    worker: str | None = "w1", starts_at: datetime | None = None, deadline_s: float | None = 60
) -> e.SagaStarted:
    due = None if deadline_s is None else (starts_at or NOW) + timedelta(seconds=deadline_s)
    return e.SagaStarted("order", "plan-1", {"name": "Show"}, worker, {}, starts_at, due)


OUT: Past = [a_start(), *done("a"), e.StepStarted("b", 1)]
LATE = e.SagaAborted(None, "the deadline passed: 60 s after the start")


def test_the_deadline_is_recorded_with_the_start() -> None:
    """A restart does not begin to count anew."""
    given(plan=PLAN).when(START).then(a_start(), e.StepStarted("a", 1))


def test_a_saga_that_is_in_time_does_not_notice() -> None:
    """A moment before the deadline nothing happens."""
    given(*OUT, plan=PLAN).when(Woken(), now=seconds(59.9)).then()
    given(*OUT, plan=PLAN).when(action("b", Completed()), now=seconds(59.9)).then(
        e.StepCompleted("b"), e.SagaCompleted()
    )


def test_a_saga_whose_deadline_passes_aborts() -> None:
    """No step is to blame; the call that is out is awaited, and then undone with the rest."""
    story = given(*OUT, plan=PLAN).when(Woken(), now=seconds(60)).then(LATE)
    assert (story.state.failed_step, story.state.status) == (None, SagaStatus.COMPENSATING)
    story.when(action("b", Completed()), now=seconds(61)).then(e.StepCompleted("b"), e.CompensationStarted("b", 1))
    story.when(undo("b", Completed())).then(e.CompensationCompleted("b"), e.CompensationStarted("a", 1))


def test_a_saga_whose_deadline_passes_before_it_began_ends_without_a_call() -> None:
    """Whoever takes it over then: nothing is undone, because nothing was done."""
    story = given(a_start(None), plan=PLAN)
    assert [expires(story.state, seconds(s)) for s in (59, 60)] == [False, True]
    story.when(OwnerGone("w2"), seconds(60)).then(e.SagaTakenOver("w2"), e.SagaBegan(), LATE, e.SagaCompensated())
    paused = given(a_start(None), e.SagaPaused("ann", "wait"), plan=PLAN)
    assert not expires(paused.state, seconds(60))
    paused.when(OwnerGone("w2"), seconds(60)).then(e.SagaTakenOver("w2"))
    assert not expires(given(a_start(), plan=PLAN).state, seconds(60))


def test_an_answer_in_the_moment_of_the_deadline_is_heard_first() -> None:
    """What it says is undone, and is not lost."""
    story = given(*OUT, plan=PLAN).when(action("b", Completed()), now=seconds(60))
    story.then(e.StepCompleted("b"), LATE, e.CompensationStarted("b", 1))
    story.when(Woken(), now=seconds(60)).then()


def test_a_failure_in_the_moment_of_the_deadline_is_not_tried_again() -> None:
    """In doubt, it is undone at once."""
    story = given(*OUT, plan=PLAN).when(action("b", Unknown("lost")), now=seconds(60))
    story.then(e.StepFailed("b", 1, "unknown", "lost", seconds(61)), LATE, e.CompensationStarted("b", 1))
    story.when(RetryDue("b", Direction.ACTION, 1), now=seconds(61)).then()


def test_a_retry_that_is_due_after_the_deadline_is_not_made() -> None:
    """Whichever of the two timers rings first."""
    past: Past = [*OUT, e.StepFailed("b", 1, "unavailable", "busy", seconds(60))]
    story = given(*past, plan=PLAN).when(RetryDue("b", Direction.ACTION, 1), now=seconds(60))
    story.then(LATE, e.CompensationStarted("a", 1))


def test_a_refusal_in_the_moment_of_the_deadline_is_the_reason() -> None:
    """A saga aborts once."""
    story = given(*OUT, plan=PLAN).when(action("b", Rejected("no")), now=seconds(60))
    story.then(e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1))


def test_a_compensation_has_no_deadline() -> None:
    """Going back takes the time it takes."""
    past: Past = [*OUT, e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1)]
    given(*past, plan=PLAN).when(Woken(), now=seconds(99)).then()


@pytest.mark.parametrize("pivot", [e.StepStarted("pay", 1), e.StepFailed("pay", 1, "unavailable", "busy", seconds(50))])
def test_after_the_pivot_was_called_the_deadline_says_nothing(pivot: e.SagaEvent) -> None:
    """The saga can only go forward, however late."""
    plan = a_plan("a", a_step("pay", retry=ENDLESS, kind="pivot", compensation=None), deadline_s=60)
    past: Past = [a_start(), *done("a"), e.StepStarted("pay", 1), pivot]
    story = given(*past, plan=plan).when(Woken(), now=seconds(60)).then()
    story.when(RetryDue("pay", Direction.ACTION, 1), now=seconds(60))
    assert all(event == e.StepStarted("pay", 2) for event in story.decided)


def test_a_deadline_that_passes_in_a_pause_counts_when_the_saga_is_resumed() -> None:
    """A pause does not stop the clock."""
    story = given(*OUT, e.SagaPaused("Ann", "look"), plan=PLAN).when(Woken(), now=seconds(60)).then()
    story.when(action("b", Completed()), now=seconds(61)).then(e.StepCompleted("b"))
    story.when(Resume("Ann", "seen"), now=seconds(62))
    story.then(e.SagaResumed("Ann", "seen"), LATE, e.CompensationStarted("b", 1))


def test_a_deadline_that_passed_while_no_worker_was_there_counts_at_the_takeover() -> None:
    """What was out is awaited: its call is made again, to hear what came of it."""
    story = given(*OUT, plan=PLAN).when(OwnerGone("w2"), now=seconds(60)).then(e.SagaTakenOver("w2", "w1"), LATE)
    assert open_intents(story.state) == [e.StepStarted("b", 1)]


def test_a_deadline_that_passed_before_a_saga_began_is_its_end() -> None:
    """Nothing was called, and nothing is."""
    story = given(a_start(None), plan=PLAN).when(OwnerGone("w2"), now=seconds(60))
    story.then(e.SagaTakenOver("w2"), e.SagaBegan(), LATE, e.SagaCompensated())


# ── A delayed start ──────────────────────────────────────────────────────────────────────────────────────

AT = seconds(100)
BOTH: Plan = a_plan("a", "b")
WAITING = a_start(starts_at=AT, deadline_s=None)


def test_a_saga_with_a_start_in_the_future_waits_for_it() -> None:
    """It is nobody's turn; the deadline counts from then."""
    story = given(plan=BOTH).when(Start("plan-1", {"name": "Show"}, "w1", starts_at=AT)).then(WAITING)
    assert (story.state.status, open_intents(story.state)) == (SagaStatus.PENDING, [])
    given(plan=PLAN).when(Start("plan-1", {"name": "Show"}, "w1", starts_at=AT)).then(a_start(starts_at=AT))


def test_a_saga_begins_when_its_time_has_come() -> None:
    """Not before."""
    story = given(WAITING, plan=BOTH).when(Woken(), now=seconds(99)).then()
    story.when(Woken(), now=AT).then(e.SagaBegan(), e.StepStarted("a", 1))
    assert story.state.status is SagaStatus.IN_PROGRESS


def test_a_start_in_the_past_is_now() -> None:
    """All in one append."""
    story = given(plan=BOTH).when(Start("plan-1", {"name": "Show"}, "w1", starts_at=seconds(-1)))
    story.then(a_start(starts_at=seconds(-1), deadline_s=None), e.SagaBegan(), e.StepStarted("a", 1))


def test_a_takeover_does_not_hasten_the_start() -> None:
    """The new worker waits as the old one did."""
    story = given(WAITING, plan=BOTH).when(OwnerGone("w2"), now=seconds(50)).then(e.SagaTakenOver("w2", "w1"))
    story.when(Woken(), now=AT).then(e.SagaBegan(), e.StepStarted("a", 1))


def test_a_saga_can_be_cancelled_before_it_begins() -> None:
    """There is nothing to undo."""
    story = (
        given(WAITING, plan=BOTH).when(Cancel("Ann", "off")).then(e.SagaCancelled("Ann", "off"), e.SagaCompensated())
    )
    story.when(Woken(), now=AT).then()


@pytest.mark.parametrize("command", [Cancel("Ann", "off"), Revoke("Ann", "off")])
def test_a_saga_without_a_worker_that_is_cancelled_before_it_begins_ends_at_once(command: Command) -> None:
    """There is nothing to undo, so no worker is needed."""
    story = given(a_start(None, deadline_s=None), plan=BOTH).when(command)
    story.then(e.SagaCancelled("Ann", "off"), e.SagaCompensated())


def test_a_saga_that_an_older_version_cancelled_before_it_began_ends_with_its_takeover() -> None:
    """Its log has the cancel alone."""
    story = given(a_start(None, deadline_s=None), e.SagaCancelled("Ann", "off"), plan=BOTH)
    story.when(OwnerGone("w2")).then(e.SagaTakenOver("w2"), e.SagaCompensated())


def test_a_saga_that_is_paused_before_it_begins_begins_when_it_is_resumed() -> None:
    """If its time has come."""
    story = given(WAITING, e.SagaPaused("Ann", "look"), plan=BOTH).when(Woken(), now=AT).then()
    story.when(Resume("Ann", "seen"), now=seconds(101))
    story.then(e.SagaResumed("Ann", "seen"), e.SagaBegan(), e.StepStarted("a", 1))
    early = given(WAITING, e.SagaPaused("Ann", "look"), plan=BOTH).when(Resume("Ann", "seen"), now=seconds(50))
    early.then(e.SagaResumed("Ann", "seen"))


def test_unavailable_before_the_deadline_is_tried_again_up_to_it() -> None:
    """A wait may reach beyond it, for a deadline is a timer of its own."""
    story = given(*OUT, plan=PLAN).when(action("b", Unavailable("busy", 500)), now=seconds(1))
    story.then(e.StepFailed("b", 1, "unavailable", "busy", seconds(501)))
    story.when(Woken(), now=seconds(60)).then(LATE, e.CompensationStarted("a", 1))
