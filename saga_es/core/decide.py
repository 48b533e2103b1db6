"""The rules of a saga: what follows from a fact, as events. Pure; the shell appends them, then acts on them.

A fact that no longer matters (an answer to an attempt that was given up, a timer of a saga that has ended)
yields no events. One answer yields the outcome together with the next intent, so both are one append.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from msgspec.structs import replace

from saga_es.core.events import (
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    Failure,
    SagaAborted,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaFailed,
    SagaStarted,
    SagaTakenOver,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from saga_es.core.facts import (
    CallReturned,
    CannotGoOn,
    Completed,
    Direction,
    Fact,
    Outcome,
    OwnerGone,
    Rejected,
    RetryDue,
    Start,
    Unavailable,
    Unknown,
)
from saga_es.core.plan import RetryPolicy, StepPlan
from saga_es.core.state import SagaState, SagaStatus, StepStatus, evolve


def decide(state: SagaState, fact: Fact, now: datetime) -> list[SagaEvent]:  # noqa: PLR0911 (a table: one return a fact)
    """The events that follow from a fact; empty when it changes nothing."""
    if state.status.ended or (state.version == 0) is not isinstance(fact, Start):
        return []
    match fact:
        case Start(plan_id, input_, worker):
            return _and_then(state, SagaStarted(state.plan.saga, plan_id, input_, worker))
        case CallReturned() if not _is_out(state, fact):
            return []
        case CallReturned(step, direction, _, outcome):
            returned = _action_returned if direction is Direction.ACTION else _compensation_returned
            return returned(state, step, outcome, now)
        case RetryDue(step, direction, attempt):
            return _retry(state, step, direction, attempt)
        case OwnerGone(worker):
            return _and_then(state, SagaTakenOver(worker, state.owner))
        case CannotGoOn(reason):
            return [SagaFailed(reason)]
        case _:
            assert_never(fact)


# ── Going forward, and turning round ─────────────────────────────────────────────────────────────────────


def _action_returned(state: SagaState, name: str, outcome: Outcome, now: datetime) -> list[SagaEvent]:
    if isinstance(outcome, Completed):
        return _and_then(state, StepCompleted(name, outcome.result))
    planned, attempt = state.plan.step(name), state.step(name).attempts
    turned_round = state.status is SagaStatus.COMPENSATING
    seed = f"{state.saga_id}/{name}/{Direction.ACTION}"
    policy = replace(planned.retry, attempts=attempt + 1) if planned.kind == "retriable" else planned.retry
    retry_at = None if turned_round else _retry_at(policy, attempt, outcome, seed, now)
    failed = StepFailed(name, attempt, _failure(outcome), outcome.error, retry_at)
    if retry_at:
        return [failed]
    if turned_round or _is_past_return(evolve(state, failed), planned):
        return _and_then(state, failed)
    return _and_then(state, failed, SagaAborted(name, outcome.error))


def _is_past_return(state: SagaState, step: StepPlan) -> bool:
    """Whether a step that failed leaves no way back: the pivot is done, or may be and cannot be undone."""
    may_be_done = step.kind == "pivot" and step.compensation is None and state.step(step.name).in_doubt
    return step.kind == "retriable" or may_be_done


def _compensation_returned(state: SagaState, name: str, outcome: Outcome, now: datetime) -> list[SagaEvent]:
    if isinstance(outcome, Completed):
        return _and_then(state, CompensationCompleted(name))
    attempt = state.step(name).compensation_attempts
    policy = state.plan.step(name).compensation
    assert policy is not None, "only steps with a compensation are compensated"
    retry_at = _retry_at(policy, attempt, outcome, f"{state.saga_id}/{name}/{Direction.COMPENSATION}", now)
    failed = CompensationFailed(name, attempt, _failure(outcome), outcome.error, retry_at)
    return [failed] if retry_at else _and_then(state, failed)


def _and_then(state: SagaState, *events: SagaEvent) -> list[SagaEvent]:
    """The events, and what the saga goes on to in the same append."""
    for event in events:
        state = evolve(state, event)
    return [*events, *_next(state)]


def _next(state: SagaState) -> list[SagaEvent]:
    match state.status:
        case SagaStatus.IN_PROGRESS:
            return _next_actions(state)
        case SagaStatus.COMPENSATING if not state.actions_out:
            return _next_compensations(state)
        case _:
            return []


def _next_actions(state: SagaState) -> list[SagaEvent]:
    """Every step starts as soon as all it waits for is done."""
    failed = [name for name, step in state.steps.items() if step.status is StepStatus.FAILED]
    if failed:  # past the point of return: those that are out are awaited, and no more are begun
        return [] if state.actions_out else [SagaFailed(_why_failed(state, failed[0]))]
    done = {step.name for step in state.plan.steps if state.step(step.name).status is StepStatus.COMPLETED}
    if len(done) == len(state.plan.steps):
        return [SagaCompleted()]
    pending = (step.name for step in state.plan.steps if state.step(step.name).status is StepStatus.PENDING)
    return [StepStarted(name, 1) for name in pending if done.issuperset(state.plan.after(name))]


def _next_compensations(state: SagaState) -> list[SagaEvent]:
    """Last first: a step is undone when all that came after it, by the plan, is undone."""
    undoing = [name for name, step in state.steps.items() if step.status is StepStatus.COMPENSATING]
    stuck = [name for name in undoing if state.step(name).stuck]
    if stuck:  # those that are out are awaited, and no more are begun
        return [SagaFailed(_why_stuck(state, stuck[0]))] if stuck == undoing else []
    standing = [name for name in reversed(state.effects) if state.plan.step(name).compensation is not None]
    if not standing:
        return [SagaCompensated()]
    free = [name for name in standing if state.plan.behind(name).isdisjoint(standing)]
    return [CompensationStarted(name, 1) for name in free if name not in undoing]


def _why_failed(state: SagaState, name: str) -> str:
    kind = state.plan.step(name).kind
    why = "must succeed and was refused" if kind == "retriable" else "cannot be undone, and may have happened"
    return f"step {name!r} {why}: {state.step(name).error}"


def _why_stuck(state: SagaState, name: str) -> str:
    step, policy = state.step(name), state.plan.step(name).compensation
    tried = f"attempt {step.compensation_attempts} of {policy.attempts if policy else 0}"
    return f"the compensation of step {name!r} was given up after {tried}: {step.error}"


# ── Trying again ─────────────────────────────────────────────────────────────────────────────────────────


def _retry(state: SagaState, name: str, direction: Direction, attempt: int) -> list[SagaEvent]:
    waiting = state.step(name).waiting
    match waiting:
        case StepFailed() if direction is Direction.ACTION and waiting.attempt == attempt:
            return [StepStarted(name, attempt + 1)]
        case CompensationFailed() if direction is Direction.COMPENSATION and waiting.attempt == attempt:
            return [CompensationStarted(name, attempt + 1)]
        case _:
            return []


def _retry_at(
    policy: RetryPolicy, attempt: int, outcome: Rejected | Unavailable | Unknown, seed: str, now: datetime
) -> datetime | None:
    if isinstance(outcome, Rejected) or attempt >= policy.attempts:
        return None
    delay = policy.delay_after(attempt, seed)
    if isinstance(outcome, Unavailable) and outcome.retry_after_s is not None:
        delay = max(delay, timedelta(seconds=outcome.retry_after_s))
    return now + delay


def _failure(outcome: Rejected | Unavailable | Unknown) -> Failure:
    match outcome:
        case Rejected():
            return "rejected"
        case Unavailable():
            return "unavailable"
        case Unknown():
            return "unknown"
        case _:
            assert_never(outcome)


# ── Is the fact about the call that is out now? ──────────────────────────────────────────────────────────


def _is_out(state: SagaState, fact: CallReturned) -> bool:
    step = state.step(fact.step)
    match fact.direction:
        case Direction.ACTION:
            out = (StepStatus.IN_PROGRESS, step.attempts)
        case Direction.COMPENSATION:
            out = (StepStatus.COMPENSATING, step.compensation_attempts)
        case _:
            assert_never(fact.direction)
    return step.waiting is None and not step.stuck and (step.status, fact.attempt) == out
