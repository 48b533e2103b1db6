"""Retries: whether and when. Computed once, from saga, step and attempt, and recorded in the event."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from saga_es.core import events as e
from saga_es.core.outcomes import Direction, Failed, Rejected, Unavailable, Unknown, Unrecordable
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaState


def retry_at(state: SagaState, name: str, direction: Direction, outcome: Failed, now: datetime) -> datetime | None:
    """When the failed call is made again; None when it is given up."""
    if isinstance(outcome, Rejected | Unrecordable):
        return None
    policy, attempt, is_endless = _policy(state, name, direction)
    counted = attempt - state.step(name).forgiven
    if (counted >= policy.attempts and not is_endless) or not set(policy.give_up_on).isdisjoint(outcome.kinds):
        return None
    delay = policy.delay_after(counted, f"{state.saga_id}/{name}/{direction}")
    if outcome.retry_after_s is not None:
        delay = max(delay, timedelta(seconds=outcome.retry_after_s))
    return now + delay


def is_last(state: SagaState, name: str, direction: Direction, attempt: int) -> bool:
    """Whether the policy allows no attempt after this one."""
    if direction is Direction.PROBE:
        return False
    policy, _, is_endless = _policy(state, name, direction)
    return not is_endless and attempt - state.step(name).forgiven >= policy.attempts


def failure_of(outcome: Failed) -> e.Failure:
    """The log's word for a failed outcome."""
    match outcome:
        case Rejected():
            return "rejected"
        case Unavailable():
            return "unavailable"
        case Unknown() | Unrecordable():
            return "unknown"
        case _:
            assert_never(outcome)


def frame_of(outcome: Failed) -> str | None:
    """Where the application's code raised, if the outcome is an exception of its own."""
    return outcome.frame if isinstance(outcome, Unknown) else None


def _policy(state: SagaState, name: str, direction: Direction) -> tuple[RetryPolicy, int, bool]:
    planned, step = state.plan.step(name), state.step(name)
    if direction is Direction.ACTION:
        return planned.retry, step.attempts, planned.kind == "retriable"
    assert planned.compensation is not None, "only steps with a compensation are compensated"
    return planned.compensation, step.compensation_attempts, False
