"""Commands to a saga, from people, sagas and services: which are allowed when, and how they are recorded.

The process that receives a command records it; then the saga's owner continues the saga. So the events here make no
calls, and any process may append them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime

import msgspec
from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.commands import (
    Cancel,
    Command,
    Fail,
    Migrate,
    Pause,
    ReplaceInput,
    Reply,
    Resolve,
    Resume,
    Retry,
    Revoke,
    SendSignal,
    Skip,
)
from saga_es.core.evolve import evolve, fold, is_doubtful
from saga_es.core.facts import CallReturned
from saga_es.core.migration import last_begun, present_name, renames, why_not
from saga_es.core.outcomes import Completed, Direction
from saga_es.core.plan import Signal, step_of
from saga_es.core.proceed import back
from saga_es.core.returned import call_returned
from saga_es.core.state import SagaState, SagaStatus, StepStatus, digest
from saga_es.errors import CommandRefused

MOST_SIGNALS = 100
"""Signals of one name that a saga keeps until a step waits for them."""

MOST_SIGNAL_BYTES = 8 * 1_048_576
"""Bytes of JSON of all signals that a saga keeps; a single larger one is still kept."""


def record(state: SagaState, command: Command, now: datetime) -> list[e.SagaEvent]:
    """The events that record the command; none when it changes nothing.

    Raises:
        CommandRefused: The saga cannot follow the command in its present state.
    """
    events = _recorded(state, command, now)
    named = None if isinstance(command, SendSignal | Revoke | Reply) else command.on_behalf_of
    return events if named is None else [_on_behalf_of(named, event) for event in events]


def _on_behalf_of(named: str, event: e.SagaEvent) -> e.SagaEvent:
    return replace(event, on_behalf_of=named) if "on_behalf_of" in event.__struct_fields__ else event


def _recorded(state: SagaState, command: Command, now: datetime) -> list[e.SagaEvent]:  # noqa: C901, PLR0911 (a table: one case a command)
    match command:
        case Cancel(actor, reason):
            _refuse_if(state, _why_not_cancel(state))
            return _cancelled(state, actor, reason)
        case Pause(actor, reason):
            _refuse_if(state, _has_ended(state) or _is_paused(state))
            return [e.SagaPaused(actor, reason)]
        case Resume(actor, reason):
            _refuse_if(state, _has_ended(state) or (None if state.paused else "it is not paused"))
            return [e.SagaResumed(actor, reason)]
        case Retry(actor, reason):
            return _retry(state, actor, reason, now)
        case Skip(step, actor, reason):
            _refuse_if(state, _why_not_failed(state) or _why_not_open(state, step))
            is_undoing = state.step(step).status is StepStatus.COMPENSATING
            skipped = e.CompensationSkipped(step, actor, reason) if is_undoing else e.StepSkipped(step, actor, reason)
            return [skipped, _reopened(state, actor, reason, now)]
        case ReplaceInput(step, input_, actor, reason):
            _refuse_if(state, _why_not_failed(state) or _why_not_open(state, step) or _runs_a_saga(state, step))
            return [e.InputReplaced(step, input_, actor, reason), _reopened(state, actor, reason, now)]
        case Fail(actor, reason):
            _refuse_if(state, _has_ended(state))
            return [e.SagaFailed(f"given up by {actor}: {reason}", actor)]
        case Resolve(actor, reason, status):
            _refuse_if(state, _why_not_failed(state))
            return [e.SagaResolved(status or ("COMPENSATED" if state.aborted else "COMPLETED"), actor, reason)]
        case Migrate():
            return _migrate(state, command)
        case SendSignal():
            return _signal(state, command)
        case Revoke(actor, reason):
            return _revoke(state, actor, reason, now)
        case Reply():
            return _replied(state, command, now)


def still_open(state: SagaState) -> list[str]:
    """The steps and elements that block a FAILED saga: a person can skip them, or replace their input."""
    aborted = {StepStatus.IN_PROGRESS, StepStatus.COMPENSATING}
    open_ = aborted if state.aborted else {StepStatus.IN_PROGRESS, StepStatus.FAILED}
    return [name for name, step in state.steps.items() if step.status in open_ or step.probing]


def _retry(state: SagaState, actor: str, reason: str, now: datetime) -> list[e.SagaEvent]:
    if state.status is SagaStatus.FAILED:
        return [_reopened(state, actor, reason, now)]
    waits = any(step.waiting for step in state.steps.values())
    _refuse_if(
        state, _has_ended(state) or _is_paused(state) or (None if waits else "none of its steps waits for a retry")
    )
    return [e.RetryOrdered(actor, reason, now)]


def _migrate(state: SagaState, migrate: Migrate) -> list[e.SagaEvent]:
    if migrate.plan_id == state.plan_id:
        return []
    plan, renamed = migrate.plan, renames(state.plan, migrate.plan, migrate.replaces)
    _refuse_if(state, why_not(state, plan, renamed))
    current = last_begun(state, plan, renamed)
    return [e.SagaMigrated(migrate.plan_id, plan, migrate.actor, migrate.reason, renamed, current)]


def _signal(state: SagaState, sent: SendSignal) -> list[e.SagaEvent]:
    names = [step.name for step in state.plan.steps if isinstance(step.work, Signal)]
    if sent.signal in state.renamed:  # the sender knows the step by an earlier name
        sent = replace(sent, signal=present_name(sent.signal, state.renamed))
    if sent.signal not in names:
        there = ", ".join(names) or "none"
        raise CommandRefused(state.saga_id, f"it has no signal {sent.signal!r}; there is {there}")
    known = None if sent.key is None else state.signal_keys.get(sent.signal, {}).get(sent.key)
    if known is not None:
        return _repeated(state, sent, known)
    _refuse_if(state, _has_ended(state) or ("it has aborted" if state.aborted else None))
    if state.step(sent.signal).status not in {StepStatus.PENDING, StepStatus.IN_PROGRESS}:
        raise CommandRefused(state.saga_id, f"step {sent.signal!r} is {state.step(sent.signal).status} already")
    if len(state.signals.get(sent.signal, ())) >= MOST_SIGNALS:
        raise CommandRefused(state.saga_id, f"{MOST_SIGNALS} signals {sent.signal!r} wait already, which is the limit")
    _refuse_if(state, _has_too_much_to_keep(state, sent))
    return [e.SignalReceived(sent.signal, sent.payload, sent.key, sent.actor)]


def _has_too_much_to_keep(state: SagaState, sent: SendSignal) -> str | None:
    if not any(state.signals.values()):  # nearly always
        return None
    size = len(msgspec.json.encode([*state.signals.values(), sent.payload]))
    is_too_much = size > MOST_SIGNAL_BYTES
    return (
        f"its signals that wait would have {size} bytes, and the limit is {MOST_SIGNAL_BYTES}" if is_too_much else None
    )


def _repeated(state: SagaState, sent: SendSignal, known: str) -> list[e.SagaEvent]:
    if digest(sent.payload) != known:
        why = f"a signal {sent.signal!r} with another payload came under this key; use a new key for a new signal"
        raise CommandRefused(state.saga_id, why, key_reused=True)
    return []


def _revoke(state: SagaState, actor: str, reason: str, now: datetime) -> list[e.SagaEvent]:
    """A saga aborts with its parent; a saga that cannot abort stays as it is, and its parent reports that."""
    if state.status is SagaStatus.COMPLETED and not state.beyond_return:
        return [e.SagaReopened("COMPENSATING", actor, reason, now, error=reason)]
    return _cancelled(state, actor, reason) if _why_not_cancel(state) is None else []


def _replied(state: SagaState, reply: Reply, now: datetime) -> list[e.SagaEvent]:
    """A reply to a call that is over changes nothing; one that says that an earlier attempt is done counts."""
    if state.status.ended:
        return []
    name, attempt = present_name(reply.step, state.renamed), reply.attempt
    if isinstance(reply.outcome, Completed):
        step = state.step(name)
        is_undoing = reply.direction is Direction.COMPENSATION
        attempt = step.compensation_attempts if is_undoing else step.attempts
    return call_returned(state, CallReturned(name, reply.direction, attempt, reply.outcome), now)


def _cancelled(state: SagaState, actor: str, reason: str) -> list[e.SagaEvent]:
    """A saga that never began has nothing to undo, so it ends here: it might wait for a worker's capacity for hours."""
    cancelled = e.SagaCancelled(actor, reason)
    return [cancelled, e.SagaCompensated()] if state.status is SagaStatus.PENDING else [cancelled]


def _reopened(state: SagaState, actor: str, reason: str, now: datetime) -> e.SagaReopened:
    return e.SagaReopened("COMPENSATING" if state.aborted else "IN_PROGRESS", actor, reason, now, error=state.cause)


# ── Why a command is refused ─────────────────────────────────────────────────────────────────────────────


def _refuse_if(state: SagaState, why: str | None) -> None:
    if why:
        raise CommandRefused(state.saga_id, why)


def _has_ended(state: SagaState) -> str | None:
    return f"it has ended: {state.status}" if state.status.ended else None


def _is_paused(state: SagaState) -> str | None:
    return f"it is paused, by {state.paused.actor}: {state.paused.reason}" if state.paused else None


def _why_not_cancel(state: SagaState) -> str | None:
    if state.status.ended or state.aborted:
        return _has_ended(state) or "it has aborted already"
    return "its pivot was called: it can only go forward" if state.beyond_return else None


def _why_not_failed(state: SagaState) -> str | None:
    return None if state.status is SagaStatus.FAILED else f"it is {state.status}; this is for a saga that is FAILED"


def _why_not_open(state: SagaState, step: str) -> str | None:
    names = still_open(state)
    if step in names:
        return None
    known = any(planned.name == step_of(step) for planned in state.plan.steps)
    about = f"step {step!r} does not block it" if known else f"it has no step {step!r}"
    return f"{about}; it is blocked by: {', '.join(names) or 'no step'}"


def _runs_a_saga(state: SagaState, name: str) -> str | None:
    step = state.step(name)
    if step.child is None or step.status is StepStatus.FAILED:
        return None
    return f"step {name!r} runs saga {step.child.saga_id} already; replace the input there"


# ── What a cancel would do ───────────────────────────────────────────────────────────────────────────────


class Undoing(msgspec.Struct, frozen=True):
    """One step that a cancel would compensate.

    Attributes:
        why: `done`; `in doubt`: the action may have happened; `out`: the call is in flight and is awaited first.
    """

    step: str
    title: str
    why: str


def preview(state: SagaState) -> list[Undoing]:
    """The steps that a cancel would compensate, in the order in which their compensations would begin.

    Raises:
        CommandRefused: The saga cannot be cancelled now.
    """
    _refuse_if(state, _why_not_cancel(state))
    in_flight = [name for name, step in state.steps.items() if step.in_flight and _may_have_effect(state, name)]
    doubtful = [name for name, step in state.steps.items() if is_doubtful(step)]
    why = dict.fromkeys(state.effects, "done") | dict.fromkeys(doubtful, "in doubt") | dict.fromkeys(in_flight, "out")
    aborted = fold(state, [e.SagaCancelled("", ""), *(e.StepCompleted(name) for name in in_flight)])
    return [Undoing(name, state.plan.step(name).title, why[name]) for name in _order_of_undoing(aborted)]


def _may_have_effect(state: SagaState, name: str) -> bool:
    """Whether the call in flight has an effect to undo; a condition and the making of an input have none."""
    return state.plan.step(name).work is None or state.step(name).child is not None


def _order_of_undoing(state: SagaState) -> Iterator[str]:
    """The steps in the order of their compensation if all succeed, found by a simulation of it."""
    under_way: deque[e.SagaEvent] = deque()
    while not state.status.ended:
        begun = back(state)
        yield from (event.step for event in begun if isinstance(event, e.CompensationStarted))
        under_way += begun
        state = fold(state, begun)
        match under_way.popleft():
            case e.CompensationStarted(step):
                state = evolve(state, e.CompensationCompleted(step))
            case e.ProbeStarted(step):
                state = evolve(state, e.ProbeAnswered(step))
            case _:
                pass
