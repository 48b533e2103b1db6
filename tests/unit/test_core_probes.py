"""Probes: of a call whose outcome is unknown, somebody is asked whether it happened."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Cancel, Resume, Retry, Skip
from saga_es.core.facts import CannotGoOn, OwnerGone, RetryDue
from saga_es.core.outcomes import Completed, Direction, Outcome, Rejected, Unavailable, Unknown
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import StepStatus, open_intents
from tests.support.story import NOW, STARTED, Past, a_plan, a_step, action, done, given, probed, seconds, undo

WHO = ("Ann", "because")
TWICE = RetryPolicy(attempts=2, first_delay_s=1, jitter=0)
PAY = a_step("pay", retry=TWICE, probe=True)
ORDER = a_plan("book", PAY, "ship")
BESIDE = a_plan(a_step("book", after=()), a_step("pay", retry=TWICE, probe=True, after=()))

PAYING: Past = [STARTED, *done("book"), e.StepStarted("pay", 1)]
LOST: Past = [*PAYING, e.StepFailed("pay", 1, "unknown", "lost", seconds(1))]
ASKED: Past = [*LOST, e.ProbeStarted("pay", 1)]
SECOND: Past = [*ASKED, e.ProbeAnswered("pay", error="?"), e.StepStarted("pay", 2)]
LAST = e.StepFailed("pay", 2, "unknown", "lost", seconds(1), last=True)

NOBODY_KNOWS: list[Outcome] = [Unknown("broken"), Unavailable("busy", 60)]


# ── Before it is tried again ─────────────────────────────────────────────────────────────────────────────


def test_before_a_lost_call_is_made_again_somebody_is_asked() -> None:
    """The wait is that of the retry; what follows it is the question."""
    story = given(*PAYING, plan=ORDER).when(action("pay", Unknown("lost")))
    story.then(e.StepFailed("pay", 1, "unknown", "lost", seconds(1)))
    story.when(RetryDue("pay", Direction.ACTION, 1)).then(e.ProbeStarted("pay", 1))
    assert open_intents(story.state) == [e.ProbeStarted("pay", 1)]


def test_a_call_that_surely_did_nothing_is_made_again_unasked() -> None:
    """Not available is an answer."""
    past: Past = [*PAYING, e.StepFailed("pay", 1, "unavailable", "busy", seconds(1))]
    given(*past, plan=ORDER).when(RetryDue("pay", Direction.ACTION, 1)).then(e.StepStarted("pay", 2))


def test_what_has_happened_is_done() -> None:
    """The answer of the probe is the step's result, and no second call is made."""
    story = given(*ASKED, plan=ORDER).when(probed("pay", Completed({"id": 7})))
    story.then(e.ProbeAnswered("pay", happened=True, result={"id": 7}), e.StepStarted("ship", 1))
    step = story.state.step("pay")
    assert (step.status, step.result, step.error, step.in_doubt) == (StepStatus.COMPLETED, {"id": 7}, None, False)


def test_what_has_happened_is_undone_like_any_step_that_is_done() -> None:
    """Nobody is asked again."""
    past: Past = [*ASKED, e.ProbeAnswered("pay", happened=True, result=7), e.StepStarted("ship", 1)]
    story = given(*past, plan=ORDER).when(action("ship", Rejected("no")))
    story.then(e.StepFailed("ship", 1, "rejected", "no"), e.SagaAborted("ship", "no"), e.CompensationStarted("pay", 1))


def test_what_has_not_happened_is_tried_again_and_is_no_longer_in_doubt() -> None:
    """It never will, so if the next attempt is refused there is nothing to undo."""
    story = given(*ASKED, plan=ORDER).when(probed("pay", Rejected("404")))
    story.then(e.ProbeAnswered("pay", happened=False, error="404"), e.StepStarted("pay", 2))
    story.when(action("pay", Rejected("no"), 2))
    story.then(e.StepFailed("pay", 2, "rejected", "no"), e.SagaAborted("pay", "no"), e.CompensationStarted("book", 1))


@pytest.mark.parametrize("outcome", NOBODY_KNOWS)
def test_what_cannot_be_told_is_tried_again_and_stays_in_doubt(outcome: Unknown | Unavailable) -> None:
    """The key makes the repeat safe, as it does without a probe."""
    story = given(*ASKED, plan=ORDER).when(probed("pay", outcome))
    story.then(e.ProbeAnswered("pay", error=outcome.error), e.StepStarted("pay", 2))
    assert story.state.step("pay").in_doubt


def test_a_step_that_completes_after_all_is_not_in_doubt() -> None:
    """It answered: when it is undone, nobody is asked whether it ever happened."""
    story = given(*SECOND, plan=ORDER).when(action("pay", Completed(1), 2))
    assert not story.state.step("pay").in_doubt
    story.when(action("ship", Rejected("no")))
    story.then(e.StepFailed("ship", 1, "rejected", "no"), e.SagaAborted("ship", "no"), e.CompensationStarted("pay", 1))


def test_an_answer_of_the_call_that_comes_while_somebody_is_asked_is_too_late() -> None:
    """Its attempt is over; the question is what is out."""
    given(*ASKED, plan=ORDER).when(action("pay", Completed(1))).then()
    given(*ASKED, plan=ORDER).when(RetryDue("pay", Direction.ACTION, 1)).then()


def test_an_answer_that_nobody_asked_for_is_no_news() -> None:
    """Also that of a probe after another attempt."""
    given(*PAYING, plan=ORDER).when(probed("pay", Completed(1))).then()
    given(*ASKED, plan=ORDER).when(probed("pay", Completed(1), 2)).then()
    given(*SECOND, plan=ORDER).when(probed("pay", Completed(1))).then()


# ── After the last attempt ───────────────────────────────────────────────────────────────────────────────


def test_after_the_last_attempt_somebody_is_asked_once_more() -> None:
    """There is a wait, but no attempt after it."""
    story = given(*SECOND, plan=ORDER).when(action("pay", Unknown("lost"), 2))
    (failed,) = story.decided
    assert isinstance(failed, e.StepFailed)
    assert (failed.last, failed.retry_at) == (True, seconds(2))
    story.when(RetryDue("pay", Direction.ACTION, 2)).then(e.ProbeStarted("pay", 2))


def test_a_last_attempt_that_has_happened_is_done() -> None:
    """And the saga goes on as if nothing had been lost."""
    story = given(*SECOND, LAST, e.ProbeStarted("pay", 2), plan=ORDER).when(probed("pay", Completed(1), 2))
    story.then(e.ProbeAnswered("pay", happened=True, result=1), e.StepStarted("ship", 1))


def test_a_last_attempt_that_has_not_happened_is_given_up_without_a_trace() -> None:
    """Nothing is left to undo of it."""
    story = given(*SECOND, LAST, e.ProbeStarted("pay", 2), plan=ORDER).when(probed("pay", Rejected("404"), 2))
    story.then(
        e.ProbeAnswered("pay", happened=False, error="404"),
        e.StepFailed("pay", 2, "unavailable", "lost"),
        e.SagaAborted("pay", "lost"),
        e.CompensationStarted("book", 1),
    )


def test_a_last_attempt_that_cannot_be_told_is_undone_unasked() -> None:
    """Whoever could not tell a moment ago is not asked again."""
    story = given(*SECOND, LAST, e.ProbeStarted("pay", 2), plan=ORDER).when(probed("pay", Unknown("?"), 2))
    story.then(
        e.ProbeAnswered("pay", error="?"),
        e.StepFailed("pay", 2, "unknown", "lost"),
        e.SagaAborted("pay", "lost"),
        e.CompensationStarted("pay", 1),
    )


@pytest.mark.parametrize(("outcome", "failure"), [(Rejected("no"), "rejected"), (Unavailable("busy"), "unavailable")])
def test_a_refusal_does_not_clear_up_an_earlier_doubt(outcome: Outcome, failure: e.Failure) -> None:
    """The first attempt may have happened: it is asked about before the step is given up."""
    story = given(*SECOND, plan=ORDER).when(action("pay", outcome, 2))
    (failed,) = story.decided
    assert isinstance(failed, e.StepFailed)
    assert (failed.failure, failed.last) == (failure, True)


def test_a_pivot_that_may_have_happened_is_asked_about_before_a_person_is() -> None:
    """It cannot be undone, so everything hangs on the answer."""
    pivot = a_step("pay", retry=TWICE, probe=True, kind="pivot", compensation=None)
    past: Past = [STARTED, e.StepStarted("pay", 2), LAST, e.ProbeStarted("pay", 2)]
    story = given(*past, plan=a_plan(pivot)).when(probed("pay", Completed(1), 2))
    story.then(e.ProbeAnswered("pay", happened=True, result=1), e.SagaCompleted())
    story = given(*past, plan=a_plan(pivot)).when(probed("pay", Rejected("404"), 2))
    assert story.decided[2:] == [e.SagaAborted("pay", "lost"), e.SagaCompensated()]
    story = given(*past, plan=a_plan(pivot)).when(probed("pay", Unknown("?"), 2))
    assert story.decided[2:] == [e.SagaFailed("step 'pay' cannot be undone, and may have happened: lost")]


def test_a_person_who_commands_a_retry_has_it_asked_again() -> None:
    """Whoever could not tell then may know now."""
    pivot = a_step("pay", retry=TWICE, probe=True, kind="pivot", compensation=None)
    past: Past = [STARTED, e.StepStarted("pay", 2), LAST, e.ProbeStarted("pay", 2)]
    story = given(*past, plan=a_plan(pivot)).when(probed("pay", Unknown("?"), 2)).when(Retry(*WHO))
    story.when(OwnerGone("w2")).when(RetryDue("pay", Direction.ACTION, 2)).then(e.ProbeStarted("pay", 2))
    story.when(probed("pay", Unknown("?"), 2)).then(e.ProbeAnswered("pay", error="?"), e.StepStarted("pay", 3))


# ── Before it is undone ──────────────────────────────────────────────────────────────────────────────────

CANCELLED: Past = [*LOST, e.SagaCancelled(*WHO), e.ProbeStarted("pay", 1)]


def test_before_a_step_in_doubt_is_undone_somebody_is_asked() -> None:
    """Nothing that came before it is undone until that is settled."""
    given(*LOST, plan=ORDER).when(Cancel(*WHO)).then(e.SagaCancelled(*WHO), e.ProbeStarted("pay", 1))


@pytest.mark.parametrize("outcome", [Completed(7), *NOBODY_KNOWS])
def test_what_has_happened_or_may_have_is_undone(outcome: Outcome) -> None:
    """In either case it could be there."""
    story = given(*CANCELLED, plan=ORDER).when(probed("pay", outcome))
    assert story.decided[1:] == [e.CompensationStarted("pay", 1)]


def test_what_has_not_happened_is_not_undone() -> None:
    """The next is."""
    story = given(*CANCELLED, plan=ORDER).when(probed("pay", Rejected("404")))
    story.then(e.ProbeAnswered("pay", happened=False, error="404"), e.CompensationStarted("book", 1))


def test_what_fails_after_the_abort_is_asked_about_before_it_is_undone() -> None:
    """At once, and not after the wait of a retry that will never be."""
    past: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("pay", 1), e.StepFailed("book", 1, "rejected", "no")]
    story = given(*past, e.SagaAborted("book", "no"), plan=BESIDE).when(action("pay", Unknown("lost")))
    story.then(e.StepFailed("pay", 1, "unknown", "lost"), e.ProbeStarted("pay", 1))


def test_a_compensation_that_is_given_up_waits_for_what_is_being_asked() -> None:
    """Whether the other has happened is known before a person is called."""
    past: Past = [STARTED, *done("book"), e.StepStarted("pay", 1), LOST[-1], e.SagaCancelled(*WHO)]
    story = given(*past, e.CompensationStarted("book", 1), e.ProbeStarted("pay", 1), plan=BESIDE)
    story.when(undo("book", Rejected("no"))).then(e.CompensationFailed("book", 1, "rejected", "no"))
    story.when(probed("pay", Rejected("404")))
    assert [type(event) for event in story.decided] == [e.ProbeAnswered, e.SagaFailed]


def test_what_is_being_asked_at_the_abort_is_awaited() -> None:
    """It may be there or not: nothing is undone before that is known."""
    past: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("pay", 1), LOST[-1], e.ProbeStarted("pay", 1)]
    aborted = given(*past, plan=BESIDE).when(action("book", Rejected("no")))
    aborted.then(e.StepFailed("book", 1, "rejected", "no"), e.SagaAborted("book", "no"))
    aborted.when(probed("pay", Completed(1)))
    aborted.then(e.ProbeAnswered("pay", happened=True, result=1), e.CompensationStarted("pay", 1))


@pytest.mark.parametrize(("outcome", "failure"), [(Rejected("404"), "unavailable"), (Unknown("?"), "unknown")])
def test_what_was_being_asked_at_the_abort_is_not_tried_again(outcome: Outcome, failure: e.Failure) -> None:
    """It is given up; what may have happened is undone."""
    past: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("pay", 1), LOST[-1], e.ProbeStarted("pay", 1)]
    aborted: Past = [*past, e.StepFailed("book", 1, "rejected", "no"), e.SagaAborted("book", "no")]
    story = given(*aborted, plan=BESIDE).when(probed("pay", outcome))
    end = e.CompensationStarted("pay", 1) if failure == "unknown" else e.SagaCompensated()
    assert story.decided[1:] == [e.StepFailed("pay", 1, failure, "lost"), end]


# ── After a takeover ─────────────────────────────────────────────────────────────────────────────────────

TAKEN: Past = [*PAYING, e.SagaTakenOver("w2", "w1"), e.ProbeStarted("pay", 1)]


def test_a_call_that_was_out_when_the_worker_went_is_asked_about() -> None:
    """Whoever would have heard the answer is gone."""
    story = given(*PAYING, plan=ORDER).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"), e.ProbeStarted("pay", 1))
    assert story.state.step("pay").in_doubt


@pytest.mark.parametrize("outcome", [Rejected("404"), *NOBODY_KNOWS])
def test_if_it_has_not_happened_that_same_attempt_is_made_again(outcome: Outcome) -> None:
    """It costs none of those that the policy allows."""
    story = given(*TAKEN, plan=ORDER).when(probed("pay", outcome))
    assert story.decided[1:] == [e.StepStarted("pay", 1)]


def test_if_it_has_happened_the_saga_goes_on() -> None:
    """The answer that was lost with the worker is found."""
    story = given(*TAKEN, plan=ORDER).when(probed("pay", Completed(7)))
    story.then(e.ProbeAnswered("pay", happened=True, result=7), e.StepStarted("ship", 1))


def test_a_probe_that_was_out_when_the_worker_went_is_asked_again() -> None:
    """The question is an intent like any other."""
    story = given(*ASKED, plan=ORDER).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == [e.ProbeStarted("pay", 1)]


def test_a_saga_that_aborted_is_asked_about_what_was_out() -> None:
    """Instead of calling once more what is to be undone."""
    past: Past = [STARTED, e.StepStarted("book", 1), e.StepStarted("pay", 1), e.StepFailed("book", 1, "rejected", "no")]
    story = given(*past, e.SagaAborted("book", "no"), plan=BESIDE).when(OwnerGone("w2"))
    story.then(e.SagaTakenOver("w2", "w1"), e.ProbeStarted("pay", 1))
    story.when(probed("pay", Unknown("?")))
    assert story.decided[1:] == [
        e.StepFailed("pay", 1, "unknown", "?"),
        e.CompensationStarted("pay", 1),
    ]
    story.when(undo("pay", Completed())).then(e.CompensationCompleted("pay"), e.SagaCompensated())


# ── While it is paused ───────────────────────────────────────────────────────────────────────────────────

PAUSED = e.SagaPaused("Bob", "look")
RESUMED = e.SagaResumed("Bob", "seen")


def test_a_paused_saga_asks_nobody() -> None:
    """Neither when a retry is due nor after a takeover; when it is resumed, it does."""
    given(*LOST, PAUSED, plan=ORDER).when(RetryDue("pay", Direction.ACTION, 1)).then()
    story = given(*PAYING, PAUSED, plan=ORDER).when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    story.when(Resume("Bob", "seen")).then(RESUMED, e.ProbeStarted("pay", 1))


@pytest.mark.parametrize("outcome", [Rejected("404"), *NOBODY_KNOWS])
def test_an_answer_that_comes_in_a_pause_is_acted_on_after_it(outcome: Outcome) -> None:
    """The next attempt is made when the saga is resumed, and nobody is asked twice."""
    story = given(*ASKED, PAUSED, plan=ORDER).when(probed("pay", outcome))
    assert [type(event) for event in story.decided] == [e.ProbeAnswered]
    story.when(Resume("Bob", "seen")).then(RESUMED, e.StepStarted("pay", 2))


def test_an_answer_after_a_crash_that_comes_in_a_pause_is_acted_on_after_it() -> None:
    """The same attempt is made again."""
    story = given(*TAKEN, PAUSED, plan=ORDER).when(probed("pay", Rejected("404")))
    assert open_intents(story.state) == []
    story.when(Resume("Bob", "seen")).then(RESUMED, e.StepStarted("pay", 1))


def test_an_answer_that_comes_in_a_pause_is_remembered_by_a_cancel() -> None:
    """What has not happened is neither called nor undone; what may have, is undone unasked."""
    story = given(*TAKEN, PAUSED, plan=ORDER).when(probed("pay", Rejected("404"))).when(Cancel(*WHO))
    story.then(e.SagaCancelled(*WHO), e.CompensationStarted("book", 1))
    story = given(*TAKEN, PAUSED, plan=ORDER).when(probed("pay", Unknown("?"))).when(Cancel(*WHO))
    story.then(e.SagaCancelled(*WHO), e.CompensationStarted("pay", 1))


def test_a_last_answer_that_comes_in_a_pause_aborts_the_saga_and_no_further() -> None:
    """It is undone when the saga is resumed."""
    past: Past = [*SECOND, LAST, e.ProbeStarted("pay", 2), PAUSED]
    story = given(*past, plan=ORDER).when(probed("pay", Rejected("404"), 2))
    assert [type(event) for event in story.decided] == [e.ProbeAnswered, e.StepFailed, e.SagaAborted]
    story.when(Resume("Bob", "seen")).then(RESUMED, e.CompensationStarted("book", 1))


def test_a_resume_that_another_process_recorded_leaves_no_second_call() -> None:
    """Whoever finds it goes on by what follows, not by an intent that nobody wrote."""
    story = given(*TAKEN, PAUSED, e.ProbeAnswered("pay", error="?"), RESUMED, plan=ORDER)
    assert open_intents(story.state) == []
    waited = given(*ASKED, PAUSED, e.ProbeAnswered("pay", error="?"), RESUMED, plan=ORDER)
    waited.when(RetryDue("pay", Direction.ACTION, 1)).then(e.StepStarted("pay", 2))


# ── Its code is gone ─────────────────────────────────────────────────────────────────────────────────────


def test_a_step_whose_probe_cannot_be_asked_can_be_skipped() -> None:
    """Forward, and also when it was being asked on the way back."""
    story = given(*ASKED, plan=ORDER).when(CannotGoOn("its probe is gone")).when(Skip("pay", *WHO))
    story.then(e.StepSkipped("pay", *WHO), e.SagaReopened("IN_PROGRESS", *WHO, NOW))
    story.when(OwnerGone("w2")).then(e.SagaTakenOver("w2"), e.StepStarted("ship", 1))
    back = given(*CANCELLED, plan=ORDER).when(CannotGoOn("its probe is gone")).when(Skip("pay", *WHO))
    back.when(OwnerGone("w2")).then(e.SagaTakenOver("w2"), e.CompensationStarted("book", 1))
