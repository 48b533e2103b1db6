"""Verifying the log: every stream whole, every saga sound, no sealed or archived event lost. Memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.core import events as e
from saga_es.core.invariants import violations
from saga_es.errors import BadBundle, UnreadableEvent
from saga_es.store.archive.bundle import streams_in
from saga_es.store.log.chain import Head
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Entry
from saga_es.store.log.streams import archived, ends_of, hashes_at, streams
from saga_es.store.proof.integrity import Broken, broken
from saga_es.store.proof.seal import Seal, unlike
from saga_es.store.sagas import Sagas
from saga_es.store.tables import saga_archives

HEADS_AT_ONCE = 500

Progress = Callable[[int], object]
"""Receives how many more events or streams have been verified."""

T = TypeVar("T")


def verify_streams(
    connection: Connection, sagas: Sagas, progress: Progress, stream_id: str | None = None
) -> Iterator[Broken]:
    """The rules that streams break: versions without gaps, growing positions, the hash chain, the sagas' own rules.

    Args:
        connection: A snapshot.
        sagas: Decodes events and plans.
        progress: Receives the number of events of each stream.
        stream_id: Only this stream.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    gone = archived(connection)
    for found, entries in streams(connection, stream_id):
        yield from broken(found, entries, gone.get(found))
        if entries[0].category == SAGA and [entry.version for entry in entries] == list(range(1, len(entries) + 1)):
            yield from _unsound(sagas, found, entries)
        if entries[0].category == PLAN:
            yield from _unlike_its_id(sagas, found, entries)
        progress(len(entries))


def _unlike_its_id(sagas: Sagas, plan_id: str, entries: Sequence[Entry]) -> Iterator[Broken]:
    """Whether a plan's content is another than its id says."""
    try:
        sagas.recorded_plan(plan_id, entries)
    except UnreadableEvent as error:
        yield Broken(plan_id, entries[0].version, str(error))


def _unsound(sagas: Sagas, saga_id: str, entries: Sequence[Entry]) -> Iterator[Broken]:
    """The rules of sagas that a stream breaks."""
    events = []
    for entry in entries:
        try:
            events.append((entry.version, sagas.log.decode(entry).event))
        except UnreadableEvent as error:
            yield Broken(saga_id, entry.version, str(error))
            return
    _, first = events[0]
    if not isinstance(first, e.SagaStarted):
        yield Broken(saga_id, 1, f"a saga begins with SagaStarted, not with {type(first).__name__}")
        return
    try:
        plan = sagas.plan(first.plan_id)
    except UnreadableEvent as error:
        yield Broken(saga_id, 1, str(error))
        return
    for violation in violations(saga_id, plan, events):
        yield Broken(saga_id, violation.version, violation.rule)


def verify_seal(connection: Connection, seal: Seal, progress: Progress) -> Iterator[Broken]:
    """What is wrong with the sealed streams; they may have grown since.

    Args:
        connection: A snapshot; its hash chains are verified separately.
        seal: The seal.
        progress: Receives the numbers of sealed streams.

    Raises:
        BadSeal: A line of the seal is no stream.
        StoreUnavailable: The database did not answer.
    """
    for some in _some(seal.heads(), HEADS_AT_ONCE):
        sealed = dict(some)
        there = hashes_at(connection, {stream_id: head.version for stream_id, head in sealed.items()})
        lost = [stream_id for stream_id in sealed if stream_id not in there]
        gone = archived(connection, lost) if lost else {}
        ends = ends_of(connection, lost) if lost else {}
        for stream_id, head in sealed.items():
            rule = unlike(head, there.get(stream_id), ends.get(stream_id, 0), gone.get(stream_id))
            if rule is not None:
                yield Broken(stream_id, head.version, rule)
        progress(len(sealed))


def verify_archives(connection: Connection, folder: Path, progress: Progress) -> Iterator[Broken]:
    """Archived streams that differ in their files from the log, and files that were changed.

    Args:
        connection: A snapshot.
        folder: The folder of the archives; other files in it do not matter.
        progress: Receives the numbers of archived streams.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    names = connection.scalars(sa.select(saga_archives.c.archive).distinct().order_by(saga_archives.c.archive)).all()
    for name in names:
        rows = connection.execute(sa.select(saga_archives).where(saga_archives.c.archive == name))
        heads = {row.stream_id: Head(row.version, row.hash) for row in rows}
        progress(len(heads))
        yield from _unlike_its_file(folder / Path(name).name, heads)


def _unlike_its_file(path: Path, heads: dict[str, Head]) -> Iterator[Broken]:
    """What is wrong with an archive that should hold streams with these heads."""
    try:
        for entries in streams_in(path):
            last = entries[-1]
            head = heads.pop(last.stream_id, None)
            if head is not None and head != Head(last.version, last.hash):
                yield Broken(
                    last.stream_id, head.version, f"{path} holds it with another end, at version {last.version}"
                )
    except BadBundle as error:
        yield Broken("", 0, str(error))
    else:
        for stream_id, head in heads.items():
            yield Broken(stream_id, head.version, f"it is archived in {path}, which does not hold it")


def _some(things: Iterable[T], at_once: int) -> Iterator[list[T]]:
    rest = iter(things)
    while found := list(islice(rest, at_once)):
        yield found
