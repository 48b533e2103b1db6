"""The rules of a saga: the events that follow from a fact. Pure; the shell appends the events, then acts on them.

A fact that no longer matters (an answer to an attempt that was given up, a timer of a saga that has ended)
yields no events. An answer yields the outcome together with the next intent, so both are one append.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core import operate
from saga_es.core.evolve import evolve, fold
from saga_es.core.facts import (
    CallProgressed,
    CallReturned,
    CannotGoOn,
    ChildEnded,
    CodeMissing,
    Fact,
    OwnerGone,
    RetryDue,
    Start,
    Woken,
)
from saga_es.core.migration import present_name
from saga_es.core.outcomes import Direction
from saga_es.core.proceed import deadline_passed, next_events
from saga_es.core.returned import call_returned, child_ended, is_in_flight
from saga_es.core.sequence import begun, moved_on
from saga_es.core.state import SagaState


def decide(state: SagaState, fact: Fact, now: datetime) -> list[e.SagaEvent]:
    """The events that follow from a fact; empty when the fact changes nothing.

    Raises:
        CommandRefused: The fact is a command that this saga cannot follow now.
    """
    return advance(state, fact, now)[0]


def advance(state: SagaState, fact: Fact, now: datetime) -> tuple[list[e.SagaEvent], SagaState]:
    """The events of `decide` and the state after them, so that a caller of both folds only once.

    Raises:
        CommandRefused: The fact is a command that this saga cannot follow now.
    """
    moved = None
    if type(fact) is CallReturned:
        moved = moved_on(state, fact)
    elif type(fact) is Start and state.version == 0:
        moved = begun(state, _started(state, fact, now))
    return moved or by_the_rules(state, fact, now)


def by_the_rules(state: SagaState, fact: Fact, now: datetime) -> tuple[list[e.SagaEvent], SagaState]:
    """What `advance` comes to, without looking up what mostly follows."""
    decided = _record(state, fact, now)
    if not decided and not isinstance(fact, Woken):
        return [], state
    state = fold(state, decided)
    while more := next_events(state, now):
        decided += more
        state = fold(state, more)
    return decided, state


def _record(state: SagaState, fact: Fact, now: datetime) -> list[e.SagaEvent]:  # noqa: C901, PLR0911, PLR0912 (a table: one return a fact)
    """The events that record the fact itself, before the saga goes on from there."""
    if (state.version == 0) is not isinstance(fact, Start):
        return []
    if state.renamed:
        fact = _by_present_name(state, fact)
    match fact:
        case Start():
            return [_started(state, fact, now)]
        case (
            CallReturned() | CallProgressed() | RetryDue() | ChildEnded() | OwnerGone() | CodeMissing() | CannotGoOn()
        ) if state.status.ended:
            return []
        case CallReturned():
            return call_returned(state, fact, now)
        case CallProgressed(step, direction, attempt, details):
            is_heard = is_in_flight(state, fact)
            return [e.StepProgressed(step, attempt, direction.value, details)] if is_heard else []
        case RetryDue(step, direction, attempt):
            return _retry(state, step, direction, attempt, now)
        case ChildEnded():
            return child_ended(state, fact)
        case Woken():
            return []
        case OwnerGone():
            return _owner_gone(state, fact)
        case CodeMissing(reason):
            return [] if state.owner is None else [e.SagaReleased(state.owner, reason)]
        case CannotGoOn(reason):
            return [e.SagaFailed(reason)]
        case command:
            return operate.record(state, command, now)


def _by_present_name(state: SagaState, fact: Fact) -> Fact:
    """The fact about a step with the name that the step has since a migration: it was on its way under the old one."""
    match fact:
        case CallReturned(step) | CallProgressed(step) | RetryDue(step) | ChildEnded(step):
            return replace(fact, step=present_name(step, state.renamed))
        case _:
            return fact


def _owner_gone(state: SagaState, gone: OwnerGone) -> list[e.SagaEvent]:
    taken = e.SagaTakenOver(gone.worker, state.owner)
    for name, step in evolve(state, taken).steps.items():
        if step.crashes >= gone.most_crashes:  # the call kills its process; the other sagas must live
            return [taken, e.SagaFailed(f"{step.crashes} workers crashed while step {name!r} was under way")]
    return [taken]


def _started(state: SagaState, start: Start, now: datetime) -> e.SagaStarted:
    deadline_s = state.plan.deadline_s
    deadline_at = None if deadline_s is None else (start.starts_at or now) + timedelta(seconds=deadline_s)
    return e.SagaStarted(
        state.plan.saga,
        start.plan_id,
        start.input,
        start.worker,
        start.tags,
        start.starts_at,
        deadline_at,
        start.parent,
        start.trace,
        start.by,
        start.key,
    )


# ── Retries ──────────────────────────────────────────────────────────────────────────────────────────────


def _retry(state: SagaState, name: str, direction: Direction, attempt: int, now: datetime) -> list[e.SagaEvent]:
    step = state.step(name)
    if state.paused or step.probing:
        return []
    match step.waiting:
        case e.StepFailed(attempt=waited) if direction is Direction.ACTION and waited == attempt:
            return deadline_passed(state, now) or [_next_attempt(state, name)]
        case e.CompensationFailed(attempt=waited) if direction is Direction.COMPENSATION and waited == attempt:
            return [e.CompensationStarted(name, attempt + 1)]
        case _:
            return []


def _next_attempt(state: SagaState, name: str) -> e.ProbeStarted | e.StepStarted:
    step = state.step(name)
    is_probed = state.plan.step(name).probe and step.in_doubt and not step.probed
    return e.ProbeStarted(name, step.attempts) if is_probed else e.StepStarted(name, step.attempts + 1)
