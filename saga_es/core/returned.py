"""What a call, or a child saga, came to: the events that record it, before the saga goes on. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.evolve import evolve
from saga_es.core.facts import CallProgressed, CallReturned, ChildEnded
from saga_es.core.outcomes import (
    NOT_RECORDED,
    ChildReady,
    Completed,
    Direction,
    Failed,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Unrecordable,
)
from saga_es.core.plan import Child, StepPlan
from saga_es.core.proceed import start_waiting
from saga_es.core.retry import failure_of, frame_of, retry_at
from saga_es.core.state import SagaState, StepStatus


def is_in_flight(state: SagaState, fact: CallReturned | CallProgressed) -> bool:
    """Whether the fact is about the attempt that is under way: not about one that was given up."""
    step = state.step(fact.step)
    if fact.direction is Direction.PROBE or step.probing:
        return step.probing and fact.direction is Direction.PROBE and fact.attempt == step.attempts
    match fact.direction:
        case Direction.ACTION if step.child is not None:
            return False  # the call made the input of the child saga; the step waits for that saga now
        case Direction.ACTION:
            called = (StepStatus.IN_PROGRESS, step.attempts)
        case Direction.COMPENSATION:
            called = (StepStatus.COMPENSATING, step.compensation_attempts)
        case _:
            assert_never(fact.direction)
    return step.in_flight and (step.status, fact.attempt) == called


def call_returned(state: SagaState, fact: CallReturned, now: datetime) -> list[e.SagaEvent]:
    """The events that record what a call came to; none when its attempt was given up."""
    if not is_in_flight(state, fact):
        return []
    match fact.direction:
        case Direction.ACTION:
            return _action_returned(state, fact.step, fact.outcome, now)
        case Direction.COMPENSATION:
            return _compensation_returned(state, fact.step, fact.outcome, now)
        case Direction.PROBE:
            return _probe_returned(state, fact.step, fact.outcome)
        case _:
            assert_never(fact.direction)


def _action_returned(state: SagaState, name: str, outcome: Outcome, now: datetime) -> list[e.SagaEvent]:
    match outcome:
        case Completed(result) if state.plan.step(name).work is None:
            return [e.StepCompleted(name, result)]
        case Completed() if not state.aborted:  # the condition of a step that waits holds
            return start_waiting(state, name, now)
        case Completed() | Skipped():
            return [e.StepSkipped(name)]
        case ChildReady():
            return [_child_ready(state, name, outcome)]
        case Unrecordable(error):
            return _acted(state, name, error)
        case _:
            return _action_failed(state, name, outcome, now)


def _action_failed(state: SagaState, name: str, outcome: Failed, now: datetime) -> list[e.SagaEvent]:
    planned, attempt = state.plan.step(name), state.step(name).attempts
    due = None if state.aborted else retry_at(state, name, Direction.ACTION, outcome, now)
    failed = e.StepFailed(name, attempt, failure_of(outcome), outcome.error, due, frame=frame_of(outcome))
    if due:
        return [failed]
    if planned.probe and not state.aborted and evolve(state, failed).step(name).in_doubt:
        asked_at = now + planned.retry.delay_after(attempt, f"{state.saga_id}/{name}/{Direction.PROBE}")
        return [replace(failed, retry_at=asked_at, last=True)]
    return _give_up(state, failed)


def _acted(state: SagaState, name: str, error: str) -> list[e.SagaEvent]:
    """The action is done, and its result cannot be recorded: it is undone, not called again.

    Past the point of return nothing is undone: the saga goes on, with what says so in place of the result.
    """
    failed = e.StepFailed(name, state.step(name).attempts, "unknown", error)
    if not state.aborted and _is_past_return(evolve(state, failed), state.plan.step(name)):
        return [e.StepCompleted(name, {NOT_RECORDED: error})]
    return _give_up(state, failed)


def _give_up(state: SagaState, failed: e.StepFailed) -> list[e.SagaEvent]:
    if state.aborted or _is_past_return(evolve(state, failed), state.plan.step(failed.step)):
        return [failed]
    return [failed, e.SagaAborted(failed.step, failed.error)]


def _is_past_return(state: SagaState, step: StepPlan) -> bool:
    """Whether the saga cannot go back after this failure: the pivot is done, or may be done and cannot be undone."""
    may_be_done = step.kind == "pivot" and step.compensation is None and state.step(step.name).in_doubt
    return step.kind == "retriable" or may_be_done


def _compensation_returned(state: SagaState, name: str, outcome: Outcome, now: datetime) -> list[e.SagaEvent]:
    match outcome:
        case Rejected() | Unavailable() | Unknown():
            due = retry_at(state, name, Direction.COMPENSATION, outcome, now)
            attempt = state.step(name).compensation_attempts
            failure, frame = failure_of(outcome), frame_of(outcome)
            return [e.CompensationFailed(name, attempt, failure, outcome.error, due, frame)]
        case _:
            return [e.CompensationCompleted(name)]


def _probe_returned(state: SagaState, name: str, outcome: Outcome) -> list[e.SagaEvent]:
    """An action that has happened makes the step done. Otherwise the step is tried again, or given up."""
    match outcome:
        case Rejected(error):
            answered = e.ProbeAnswered(name, happened=False, error=error)
        case Unavailable(error) | Unknown(error) | Unrecordable(error):
            answered = e.ProbeAnswered(name, error=error)
        case Completed(result):
            answered = e.ProbeAnswered(name, happened=True, result=result)
        case Skipped() | ChildReady():
            raise AssertionError("a probe is a call, and nothing else")
        case _:
            assert_never(outcome)
    step, state = state.step(name), evolve(state, answered)
    if isinstance(outcome, Unrecordable) and step.status is StepStatus.IN_PROGRESS:  # it has happened
        return [answered, *_acted(state, name, outcome.error)]
    is_last = isinstance(step.waiting, e.StepFailed) and step.waiting.last
    if answered.happened or step.status is not StepStatus.IN_PROGRESS or not (state.aborted or is_last):
        return [answered]
    failure: e.Failure = "unknown" if answered.happened is None else "unavailable"
    error = step.error or answered.error or "it is unknown whether it happened"
    return [answered, *_give_up(state, e.StepFailed(name, step.attempts, failure, error))]


# ── A child saga ─────────────────────────────────────────────────────────────────────────────────────────


def _child_ready(state: SagaState, name: str, ready: ChildReady) -> e.ChildStarted | e.StepSkipped:
    if state.aborted:
        return e.StepSkipped(name)
    work = state.plan.step(name).work
    assert isinstance(work, Child), "only a step that runs a saga has one ready"
    return e.ChildStarted(name, work.saga, ready.saga_id, ready.input)


def child_ended(state: SagaState, fact: ChildEnded) -> list[e.SagaEvent]:
    """The events that record the end of a child saga; none when the step does not run it any more."""
    step = state.step(fact.step)
    is_running = step.status is StepStatus.IN_PROGRESS and step.waiting is None  # else its end was told before
    if step.child is None or step.child.saga_id != fact.saga_id or not is_running:
        return []
    match fact.status:
        case "COMPLETED" if fact.not_recorded is not None:
            return _child_acted(state, fact.step, fact.not_recorded)
        case "COMPLETED":
            return [e.StepCompleted(fact.step, fact.result)]
        case "COMPENSATED":
            error = fact.error or f"the saga {step.child.saga_id} was compensated"
            return _give_up(state, e.StepFailed(fact.step, step.attempts, "rejected", error))
        case "FAILED":
            return [e.SagaFailed(f"step {fact.step!r} runs saga {step.child.saga_id}, which is FAILED: {fact.error}")]
        case _:
            assert_never(fact.status)


def _child_acted(state: SagaState, name: str, error: str) -> list[e.SagaEvent]:
    """The child saga is COMPLETED, and its results cannot be recorded here: it is undone as a whole, if it can be."""
    completed = e.StepCompleted(name, {NOT_RECORDED: error})
    if state.aborted or state.plan.step(name).kind != "compensatable":
        return [completed]
    return [completed, e.SagaAborted(name, error)]
