"""Explain in one sentence why a saga is not moving, or how it has ended.

The sentence is made from the saga's state, from the times of its events, and from what the shell knows about workers
and code (`Known`). Each reason completes "The saga …"; the most important comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from saga_es.core import events as e
from saga_es.core.describe import CALLEES, shown, with_frame
from saga_es.core.migration import present_keys
from saga_es.core.operate import still_open
from saga_es.core.plan import Delay
from saga_es.core.state import SagaState, SagaStatus, StepState, StepStatus

MOST_STEPS = 5
"""The most steps and elements that a sentence names."""

CLOCKS_DIFFER = timedelta(seconds=2)
"""How far the clock that is asked may be from the clock of the log, with the time that a time-out takes."""

Past = Sequence[tuple[datetime, e.SagaEvent]]
"""The events of a saga, and when each was recorded."""


class Worker(msgspec.Struct, frozen=True):
    """What is known about a saga's owner.

    Attributes:
        silent_s: The age of its heartbeat in seconds; None when it has no heartbeat any more.
        is_gone: Whether its process has certainly ended.
        lease_s: The age of the heartbeat, in seconds, after which the worker counts as gone.
    """

    silent_s: float | None
    is_gone: bool
    lease_s: float


class Known(msgspec.Struct, frozen=True):
    """What the shell knows in addition to the log.

    Attributes:
        owner: The owner of the saga; None when it has none.
        wanted: The code that the saga needs and that no living worker has, in the words of "a worker that has …".
        children: Why the child sagas are not moving, by their ids: without "The saga ".
        away: By step, the participant for which its next call is held back, in words.
        held_up: Why no worker begins sagas of its definition, or why its owner does not go on with it, as far as this
            process knows, in words.
        queued: By step, for what its call waits to begin, in words.
        missing: What else keeps the saga from its end, in words.
    """

    owner: Worker | None = None
    wanted: str | None = None
    children: Mapping[str, str] = {}
    away: Mapping[str, str] = {}
    held_up: str | None = None
    queued: Mapping[str, str] = {}
    missing: Sequence[str] = ()


class Explanation(msgspec.Struct, frozen=True):
    """Why a saga is not moving, in the words of the API.

    Attributes:
        reasons: The parts of the sentence, the most important first.
    """

    transaction_id: str
    status: SagaStatus
    sentence: str
    reasons: list[str]


def explain(state: SagaState, past: Past, known: Known, now: datetime) -> Explanation:
    """Explain why the saga is not moving, or how it has ended; `state` is the fold of its past."""
    reasons = [_ended(state, past)] if state.status.ended else list(_unfinished(state, past, known, now))
    return Explanation(state.saga_id, state.status, f"The saga {'; it '.join(reasons)}.", reasons)


# ── A saga that has ended ────────────────────────────────────────────────────────────────────────────────


def _ended(state: SagaState, past: Past) -> str:
    at, last = past[-1]
    match last:
        case e.SagaResolved(status, actor, reason):
            return f"was resolved by hand as {status} at {_at(at)}, by {actor}: {reason}"
        case e.SagaFailed(reason):
            return f"has been FAILED since {_at(at)} and needs a person: {reason}; what can help: {_commands(state)}"
        case _ if state.aborted:
            return f"has ended {state.status} at {_at(at)}: {_why_aborted(state)}; what was done is undone"
        case _:
            return f"has ended {state.status} at {_at(at)}: every step is done"


def _commands(state: SagaState) -> str:
    names = still_open(state)[:MOST_STEPS]
    children = {name: child.saga_id for name in names if (child := state.step(name).child) is not None}
    repaired = f" once saga {' and '.join(children.values())} is set right" if children else ""
    steps = [
        f"{command} {name}"
        for name in names
        for command in (("skip",) if name in children else ("skip", "replace-input"))
    ]
    return ", ".join([f"retry{repaired}", *steps, "resolve"])


def _why_aborted(state: SagaState) -> str:
    if state.failed_step is None:
        return str(state.error)
    return f"step {state.failed_step!r} failed: {with_frame(str(state.error), state.step(state.failed_step).frame)}"


# ── A saga that has not ended ────────────────────────────────────────────────────────────────────────────


def _unfinished(state: SagaState, past: Past, known: Known, now: datetime) -> Iterator[str]:
    reasons = [*_paused(state, past), *_without_worker(state, known)]
    reasons += [f"cannot go on to its end: {what}" for what in known.missing]
    reasons += [*_not_begun(state, now), *_steps(state, past, known, now)]
    yield from reasons or [f"goes on at once, on {state.owner}: nothing stands in its way"]
    if state.aborted:
        yield f"is compensating: {_why_aborted(state)}"
    elif state.deadline_at is not None and not state.beyond_return and not state.paused:
        yield f"aborts at {_at(state.deadline_at)}, its deadline"


def _paused(state: SagaState, past: Past) -> Iterator[str]:
    if state.paused:
        at = max((at for at, event in past if isinstance(event, e.SagaPaused)), default=None)
        yield f"has been paused by {state.paused.actor} since {_at(at)}: {state.paused.reason}"


def _without_worker(state: SagaState, known: Known) -> Iterator[str]:
    owner = known.owner
    worker = f"a worker that has {known.wanted}" if known.wanted else f"a worker that knows {state.plan.saga!r}"
    held_up = f": {known.held_up}" if known.held_up else ""
    if state.owner is None:
        needs = "" if known.wanted else " and has capacity"
        yield f"waits for {worker}{needs}{held_up}"
    elif owner is None or owner.silent_s is None or owner.is_gone:
        yield f"is owned by {state.owner}, which is gone, and waits for {worker}{held_up}"
    elif owner.silent_s > owner.lease_s / 2:  # a living worker is never silent for so long
        silent = f"is owned by {state.owner}, whose heartbeat is {owner.silent_s:.0f} s old"
        late = owner.silent_s > owner.lease_s
        yield f"{silent}, and {f'waits for {worker}' if late else f'is taken over when it is {owner.lease_s:g} s old'}"
    elif known.held_up:
        yield f"goes on when {state.owner} has room for it: {known.held_up}"
    elif known.wanted:
        yield f"cannot go on to its end on {state.owner}: it needs {worker}"


def _lives(owner: Worker | None) -> bool:
    return owner is not None and owner.silent_s is not None and not owner.is_gone and owner.silent_s <= owner.lease_s


def _not_begun(state: SagaState, now: datetime) -> Iterator[str]:
    if state.status is SagaStatus.PENDING and state.starts_at is not None and state.starts_at > now:
        yield f"starts at {_at(state.starts_at)}"


# ── What the steps wait for ──────────────────────────────────────────────────────────────────────────────

_GIVEN_UP, _RETRIED, _WAITING, _IN_FLIGHT = range(4)
"""The rank of what a step waits for: failures first, then waits that a person can end."""


def _steps(state: SagaState, past: Past, known: Known, now: datetime) -> list[str]:
    since, said = _since(past), _said(past)
    found: list[tuple[int, str]] = []
    for name, step in state.steps.items():
        if name in known.away and not state.paused:
            found.append((_RETRIED, f"waits with step {name!r}: {known.away[name]}{_last_error(step)}"))
        elif step.waiting is not None and not step.probing:
            is_held = _is_over(step.waiting.retry_at, now) and _lives(known.owner)
            found.append((_RETRIED, _retried(state, name, step, step.waiting) + (_HELD if is_held else "")))
        elif step.stuck or (step.status is StepStatus.FAILED and not state.aborted):
            found.append((_GIVEN_UP, _given_up(name, step)))
        elif step.wait is not None:
            found.append((_WAITING, _waited(state, name, step.wait, now)))
        elif step.in_flight:
            begun = since.get(name)
            goes_on = _going_on(state, name, begun, said[name]) if name in said else None
            found.append((_IN_FLIGHT, goes_on or _in_flight(state, name, step, begun, known, now)))
    if state.paused:  # a paused saga does nothing but await the answers of calls in flight
        found = [(rank, words) for rank, words in found if rank == _IN_FLIGHT]
    words = [words for _, words in sorted(found, key=lambda ranked: ranked[0])]
    more = len(words) - MOST_STEPS
    return words if more <= 0 else [*words[:MOST_STEPS], f"waits for {more} more like these"]


_HELD = "; that time has passed: what it calls is away, and its worker waits for an answer"


def _is_over(time: datetime | None, now: datetime) -> bool:
    return time is not None and time + CLOCKS_DIFFER < now


def _last_error(step: StepState) -> str:
    failed = step.waiting
    return f" (the last attempt failed: {with_frame(failed.error, failed.frame)})" if failed is not None else ""


def _given_up(name: str, step: StepState) -> str:
    what = "undoing step" if step.stuck else "step"
    return f"has given up {what} {name!r}, and waits for the calls in flight: {with_frame(str(step.error), step.frame)}"


def _retried(state: SagaState, name: str, step: StepState, failed: e.StepFailed | e.CompensationFailed) -> str:
    planned, counted = state.plan.step(name), failed.attempt - step.forgiven
    why = with_frame(failed.error, failed.frame)
    if isinstance(failed, e.CompensationFailed):
        attempts = planned.compensation.attempts if planned.compensation else 0
        tries = f"tries to undo step {name!r} again at {_at(failed.retry_at)}"
        return f"{tries} ({_numbered(counted + 1, attempts)}), because {why}"
    if failed.last:
        return f"asks at {_at(failed.retry_at)} whether step {name!r} has happened, because {why}"
    attempts = 0 if planned.kind == "retriable" else planned.retry.attempts
    return f"tries step {name!r} again at {_at(failed.retry_at)} ({_numbered(counted + 1, attempts)}), because {why}"


def _numbered(attempt: int, attempts: int) -> str:
    return f"retry {attempt} of {attempts}" if attempts else f"retry {attempt}, for as long as it takes"


def _waited(state: SagaState, name: str, wait: e.WaitStarted, now: datetime) -> str:
    if state.signals.get(name):
        return f"has received the signal {name!r}, and goes on with it at once"
    until = f"until {_at(wait.until)}" if wait.until else "for as long as it takes"
    is_over = ", which has passed" if wait.until and wait.until <= now else ""
    what = "waits" if isinstance(state.plan.step(name).work, Delay) else f"waits for the signal {name!r}"
    why = f", in step {name!r}" if what == "waits" else ""
    return f"{what} {until}{is_over}{why}"


def _in_flight(
    state: SagaState, name: str, step: StepState, begun: datetime | None, known: Known, now: datetime
) -> str:
    is_undoing = step.status is StepStatus.COMPENSATING
    if step.probing or (step.interrupted and state.plan.step(name).probe):
        return f"has asked since {_at(begun)} whether step {name!r} has happened"
    if step.child is not None:
        does = f"undoes saga {step.child.saga!r}" if is_undoing else f"runs saga {step.child.saga!r}"
        which = known.children.get(step.child.saga_id, "is not there yet")
        return f"{does} for step {name!r}: {step.child.saga_id}, which {which}"
    attempt = step.compensation_attempts if is_undoing else step.attempts
    callee = f"{'undoing ' if is_undoing else ''}step {name!r}"
    late = begun + timedelta(seconds=state.plan.step(name).timeout_s) if begun else None
    is_over = _is_over(late, now) and _lives(known.owner)  # a call that had begun would have been given up
    if is_over or name in known.queued:
        waits = f"has waited since {_at(begun)} for its turn to call {callee} (attempt {attempt})"
        return f"{waits}: {known.queued.get(name, 'the worker is busy, or what it calls is away')}"
    what = f"waits for the answer of {callee}, called at {_at(begun)}"
    return f"{what} (attempt {attempt}, time-out at {_at(late)})"


def _going_on(state: SagaState, name: str, begun: datetime | None, said: tuple[datetime, e.StepProgressed]) -> str:
    at, progress = said
    callee = CALLEES[progress.direction]
    what = f"waits for the answer of {callee} {name!r}, called at {_at(begun)} (attempt {progress.attempt})"
    timeout = f"its time-out is {state.plan.step(name).timeout_s:g} s after it last says so"
    return f"{what}, which said at {_at(at)} that it goes on: {shown(progress.details)}; {timeout}"


def _said(past: Past) -> dict[str, tuple[datetime, e.StepProgressed]]:
    """What the last call of each step said last."""
    said: dict[str, tuple[datetime, e.StepProgressed]] = {}
    for at, event in past:
        match event:
            case e.StepProgressed(step):
                said[step] = (at, event)
            case e.StepStarted(step) | e.CompensationStarted(step) | e.ProbeStarted(step) | e.ChildStarted(step):
                said.pop(step, None)
            case e.SagaTakenOver():
                said.clear()
            case e.SagaMigrated():
                said = present_keys(said, event)
            case _:
                pass
    return said


def _since(past: Past) -> dict[str, datetime]:
    """When the last call of each step was made; a takeover makes the calls in flight again."""
    since: dict[str, datetime] = {}
    for at, event in past:
        match event:
            case e.StepStarted(step) | e.CompensationStarted(step) | e.ProbeStarted(step) | e.ChildStarted(step):
                since[step] = at
            case e.SagaTakenOver():
                since = dict.fromkeys(since, at)
            case e.SagaMigrated():
                since = present_keys(since, event)
            case _:
                pass
    return since


def _at(time: datetime | None) -> str:
    return "some time" if time is None else f"{time:%Y-%m-%d %H:%M:%S}Z"
