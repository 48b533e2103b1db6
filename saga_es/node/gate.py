"""The gate before a deployment: what the new code would do to the recorded sagas, in a database or in an export of it.

Nothing is written, and no participant is called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from saga_es.core import events as e
from saga_es.core.state import SagaState
from saga_es.errors import UnreadableEvent
from saga_es.node.node import Node
from saga_es.runtime.compatibility import Comparing, Comparison, compare, unfinished
from saga_es.runtime.rehearsal import Difference, Rehearsal
from saga_es.store.archive.bundle import streams_in
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Entry, Recorded
from saga_es.store.log.held import HeldLog
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import page
from saga_es.store.sagas import Sagas

AT_ONCE = 100
"""Sagas that are in memory at a time."""


class Rehearsed(msgspec.Struct):
    """What a rehearsal found in so many sagas."""

    sagas: int
    differences: list[Difference]


def check_database(node: Node, comparing: Comparing, rehearsal: Rehearsal, most: int | None) -> Comparison:
    """Compare the unfinished sagas of the database, and rehearse the newest ones.

    Args:
        node: This process.
        comparing: Compares sagas with the code.
        rehearsal: Rehearses them.
        most: The most sagas of each definition that are rehearsed; None: all.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    compare(node.database, node.store.sagas, comparing)
    for name in rehearsal.names:
        for saga_ids in _newest(node, name, most):
            for entries in node.store.log.entries_of(saga_ids).values():
                _rehearse(node.store.sagas, entries, rehearsal)
    return comparing.result()


def check_bundle(node: Node, file: Path, comparing: Comparing, rehearsal: Rehearsal, most: int | None) -> Comparison:
    """Compare the unfinished sagas of an export or archive, and rehearse the first ones of it.

    The arguments are those of `check_database`.

    Raises:
        BadBundle: It is no bundle, or not whole, or was changed.
    """
    log = HeldLog(node.store.log.codec)
    sagas, rehearsed = Sagas(log), Counter[str]()
    for entries in streams_in(file):
        log.hold(entries, keeps=entries[0].category == PLAN)
        if entries[0].category != SAGA:
            continue
        saga_id = entries[0].stream_id
        found = sagas.find_many([saga_id])[saga_id]
        name, plan_id = _of(found, entries[0])
        comparing.add(saga_id, name, plan_id, found)
        if name in rehearsal.names and (most is None or rehearsed[name] < most):
            rehearsed[name] += 1
            _rehearse(sagas, entries, rehearsal)
    return comparing.result()


def _of(found: SagaState | UnreadableEvent, first: Entry) -> tuple[str, str]:
    """The definition and the plan of a saga, also of one that cannot be read."""
    if isinstance(found, SagaState):
        return found.plan.saga, found.plan_id
    started = msgspec.json.decode(first.text)
    return str(started.get("saga", "")), str(started.get("plan_id", ""))


def to_be_checked(node: Node, most: int | None) -> Iterator[str]:
    """The sagas that a gate looks at: all unfinished ones, and the newest of each definition, at most so many."""
    for rows in unfinished(node.database):
        yield from (row["saga_id"] for row in rows)
    for saga in node.app.definitions:
        for saga_ids in _newest(node, saga.name, most):
            yield from saga_ids


def _newest(node: Node, name: str, most: int | None) -> Iterator[list[str]]:
    left, cursor = most, None
    chosen = sagas_where(SagaFilter(name=name), datetime.now(UTC))
    while left is None or left > 0:
        with node.database.reading() as connection:
            found = page(connection, chosen, AT_ONCE if left is None else min(left, AT_ONCE), cursor)
        yield [row["saga_id"] for row in found.rows]
        cursor = found.next_cursor
        if cursor is None:
            return
        left = None if left is None else left - len(found.rows)


def _rehearse(sagas: Sagas, entries: Sequence[Entry], rehearsal: Rehearsal) -> None:
    """Rehearse one saga; one that cannot be read is left out: the comparison names it while it is unfinished."""
    try:
        history: list[Recorded] = [sagas.log.decode(entry) for entry in entries]
        if sagas.folded(history) is None:
            return
    except UnreadableEvent:
        return
    started = history[0].event
    assert isinstance(started, e.SagaStarted), "it was folded"
    blank = SagaState(history[0].stream_id, sagas.plan(started.plan_id))
    rehearsal.add(blank, [recorded.event for recorded in history])
