"""Replies of participants that took a call with 202: which of them count, and what they come to."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Reply
from saga_es.core.operate import record
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.plan import plan_id
from tests.support.story import NOW, STARTED, a_plan, done, given, seconds

OUT = (STARTED, *done("a"), e.StepStarted("b", 1))
TIMED_OUT = e.StepFailed("b", 1, "unknown", "no answer within 10 s", seconds(1))
UNDOING = (*OUT, e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1))


def reply(outcome: Completed | Rejected | Unavailable | Unknown, attempt: int = 1, step: str = "b") -> Reply:
    """A reply to an action."""
    return Reply(step, Direction.ACTION, attempt, outcome)


def test_a_reply_is_the_result_of_the_call() -> None:
    """And the saga goes on, as if it had been the answer."""
    given(*OUT).when(reply(Completed({"seat": 7}))).then(e.StepCompleted("b", {"seat": 7}), e.StepStarted("c", 1))


def test_a_reply_that_refuses_aborts_the_saga() -> None:
    """By the same table as an answer."""
    given(*OUT).when(reply(Rejected("sold out"))).then(
        e.StepFailed("b", 1, "rejected", "sold out"), e.SagaAborted("b", "sold out"), e.CompensationStarted("a", 1)
    )


def test_a_process_that_does_not_own_the_saga_records_the_outcome_alone() -> None:
    """The next intent is its owner's, who makes the call."""
    assert record(given(*OUT).state, reply(Completed(7)), NOW) == [e.StepCompleted("b", 7)]


def test_a_reply_to_an_undo_is_the_undo() -> None:
    """A reply to the action does not count for it."""
    story = given(*UNDOING).when(reply(Completed(), step="a")).then()
    story.when(Reply("a", Direction.COMPENSATION, 1, Completed())).then(
        e.CompensationCompleted("a"), e.SagaCompensated()
    )


@pytest.mark.parametrize("outcome", [Rejected("no"), Unavailable("busy"), Unknown("?")])
def test_an_earlier_attempt_counts_only_if_it_is_done(outcome: Rejected | Unavailable | Unknown) -> None:
    """All attempts have one key: what was done once is done. An older refusal says nothing about the present one."""
    again = (*OUT, TIMED_OUT, e.StepStarted("b", 2))
    given(*again).when(reply(outcome, attempt=1)).then()
    given(*again).when(reply(Completed(7), attempt=1)).then(e.StepCompleted("b", 7), e.StepStarted("c", 1))


@pytest.mark.parametrize(
    "past",
    [
        (*OUT, TIMED_OUT),
        (*OUT, e.StepCompleted("b"), e.StepStarted("c", 1)),
        (*OUT, e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1)),
        (*OUT, e.SagaFailed("given up")),
        (STARTED, e.StepStarted("a", 1)),
    ],
    ids=["waits for its next attempt", "done", "aborted", "ended", "not begun"],
)
def test_a_reply_to_a_call_that_is_over_changes_nothing(past: tuple[e.SagaEvent, ...]) -> None:
    """It came late, twice, or to another call."""
    given(*past).when(reply(Completed(7))).then()
    given(*past).when(reply(Completed(7), step="no such step")).then()


def test_a_reply_in_a_pause_is_recorded() -> None:
    """Like every answer; nothing begins."""
    given(*OUT, e.SagaPaused("Ada", "look")).when(reply(Completed(7))).then(e.StepCompleted("b", 7))


def test_a_reply_to_a_step_that_was_renamed_meanwhile_finds_it() -> None:
    """The participant knows the name that the call had."""
    plan = a_plan("a", "seats", "c")
    migrated = e.SagaMigrated(plan_id(plan), plan, "Ada", "a better name", {"b": "seats"}, None)
    given(*OUT, migrated).when(reply(Completed(7))).then(e.StepCompleted("seats", 7), e.StepStarted("c", 1))
