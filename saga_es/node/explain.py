"""Explain a saga, from the log and from what this process knows about workers and code."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from saga_es.core.explain import MOST_STEPS, Explanation, Known, Worker, explain
from saga_es.core.state import SagaState
from saga_es.errors import NotFound
from saga_es.node.node import MEGABYTE, Node
from saga_es.node.waiting import living
from saga_es.runtime.admission import Shortage
from saga_es.runtime.calls.away import Absence
from saga_es.runtime.calls.limits import Turn
from saga_es.store.encryption.errors import KeyErased, NoKey
from saga_es.store.queries.explain import worker_of
from saga_es.store.queries.past import life_at
from saga_es.store.queries.story import Unread

DEEPEST = 3
"""Levels of child sagas that one explanation includes."""


def explained(node: Node, saga_id: str, depth: int = DEEPEST) -> Explanation:
    """Explain why a saga is not moving, or how it has ended.

    Raises:
        NotFound: No saga has this id.
        UnreadableEvent: Not even its start can be read.
        StoreUnavailable: The database did not answer.
    """
    life = life_at(node.store.sagas, saga_id)
    if life.unread:
        return _unread(life.state, life.unread[0])
    lacks = None if life.state.status.ended else node.store.log.lacks(life.state.key)
    if lacks is not None:
        return _parked(life.state, lacks)
    known = known_about(node, life.state, depth)
    past = [(recorded.recorded_at, recorded.event) for recorded in life.history]
    return explain(life.state, past, known, node.clock.now())


def _unread(state: SagaState, unread: Unread) -> Explanation:
    """A saga that a newer version has gone on with: workers of this version leave it alone."""
    reason = (
        f"is left alone by this version, which cannot read its event {unread.version}, {unread.type} ({unread.why}); "
        "a worker of a newer version goes on with it"
    )
    return Explanation(state.saga_id, state.status, f"The saga {reason}.", [reason])


def _parked(state: SagaState, lacks: NoKey) -> Explanation:
    if isinstance(lacks, KeyErased):
        reason = (
            f"is parked, because its key {state.key} is gone: its subject was erased. It makes no call and takes no "
            "command, not even a cancel, whose compensations would need what nobody can read; undo by hand what it did"
        )
    else:
        reason = (
            f"is parked, because its key {state.key} cannot be had here ({lacks}); it makes no call and takes no "
            "command, and goes on when a process starts that has the key"
        )
    return Explanation(state.saga_id, state.status, f"The saga {reason}.", [reason])


def known_about(node: Node, state: SagaState, depth: int = DEEPEST) -> Known:
    """What this process knows about a saga in addition to the log.

    Raises:
        UnreadableEvent: An event of a child saga cannot be decoded.
        StoreUnavailable: The database did not answer.
    """
    return Known(
        _owner(node, state),
        _wanted(node, state),
        _children(node, state, depth),
        _away(node, state),
        _held_up(node, state),
        _queued(node, state),
    )


def _owner(node: Node, state: SagaState) -> Worker | None:
    if state.owner is None or state.status.ended:
        return None
    return worker_of(node.database, state.owner, node.settings.lease_s)


def _wanted(node: Node, state: SagaState) -> str | None:
    """The code that no living worker has."""
    return None if state.status.ended else living(node.store).wanted(state, node.code)


def _away(node: Node, state: SagaState) -> dict[str, str]:
    """The steps whose calls this process holds back, because nobody answers them."""
    if state.owner != node.engine.worker_id:
        return {}
    now = node.clock.now()
    found = {name: node.engine.worker.absence(state.saga_id, name) for name in state.steps}
    return {
        name: f"{_absent(absence, now)}, and the next call tries in {_seconds(absence.next_try_at - now)}"
        for name, absence in found.items()
        if absence is not None
    }


def _queued(node: Node, state: SagaState) -> dict[str, str]:
    """The steps whose calls wait here to begin, and for what."""
    if state.owner != node.engine.worker_id:
        return {}
    in_flight = [name for name, step in state.steps.items() if step.in_flight]
    found = {name: node.engine.worker.queue_of(state.saga_id, name) for name in in_flight}
    return {name: _short(queue, state.plan.saga) for name, queue in found.items() if queue is not None}


def _held_up(node: Node, state: SagaState) -> str | None:
    """Why this process begins no sagas like this one, or, if it owns it, why it does not go on."""
    name = state.plan.saga
    if state.owner == node.engine.worker_id:
        short = node.engine.worker.shortage(name, state.saga_id)
        return None if short is None else _short(short, name)
    if state.status.ended or name not in node.engine.definitions:
        return None
    absence = node.engine.worker.absence_for(name)
    if absence is not None:
        return f"here many like it wait already, because {_absent(absence, node.clock.now())}"
    short = node.engine.worker.shortage(name)
    return None if short is None else _short(short, name)


def _short(short: Shortage | Turn, name: str) -> str:
    if isinstance(short, Turn):
        return f"here {short.waiting} calls wait for their turn at {short.words}"
    match short.what:
        case "sagas":
            return f"here {short.used} sagas have a call in flight, and --sagas-at-once is {short.limit}"
        case "definition":
            return f"here {short.used} sagas of {name!r} have a call in flight, and at_once of it is {short.limit}"
        case "calls":
            return f"here {short.used} calls of {name!r} wait for their turn, and --call-threads is {short.limit}"
        case "loop":
            return f"the event loop of {name!r} has not come to it, and {short.used} calls are on it"
        case "memory":
            used, limit = f"{short.used / MEGABYTE:.1f} MB", f"{short.limit / MEGABYTE:.1f} MB"
            return f"here {used} of inputs and results are in memory; from {limit} on none begins (--payload-memory-mb)"
        case _:
            assert_never(short.what)


def _absent(absence: Absence, now: datetime) -> str:
    return f"{absence.name} has been away for {_seconds(now - absence.since)}"


def _seconds(time: timedelta) -> str:
    return f"{max(0.0, time.total_seconds()):.0f} s"


def _children(node: Node, state: SagaState, depth: int) -> dict[str, str]:
    in_flight = [step.child.saga_id for step in state.steps.values() if step.child is not None and step.in_flight]
    reasons: dict[str, str] = {}
    for saga_id in in_flight[:MOST_STEPS]:
        try:
            reasons[saga_id] = (
                ", and ".join(explained(node, saga_id, depth - 1).reasons) if depth else "can be explained on its own"
            )
        except NotFound:
            continue  # its start is not committed yet
    return reasons
