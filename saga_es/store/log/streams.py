"""The log stream by stream, as one transaction sees it: for readers of the whole log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.streamed import streamed
from saga_es.store.log.chain import Head
from saga_es.store.log.entries import Entry
from saga_es.store.tables import saga_archives, saga_events

CHUNK = 500
"""Rows in one fetch: a row may be a megabyte."""

_events, _archives = saga_events.c, saga_archives.c
_AFTER = (
    sa.select(*_events)
    .where(_events.stream_id >= sa.bindparam("stream_id"))
    .where((_events.stream_id > sa.bindparam("stream_id")) | (_events.version > sa.bindparam("version")))
    .order_by(_events.stream_id, _events.version)
    .limit(CHUNK)
)
_ONE = sa.select(*_events).where(_events.stream_id == sa.bindparam("stream_id")).order_by(_events.version)


def streams(connection: Connection, stream_id: str | None = None) -> Iterator[tuple[str, list[Entry]]]:
    """Each stream with its rows in the order of versions, never decoded; the streams in the database's own order.

    Args:
        connection: In a transaction that sees one state of the log throughout.
        stream_id: Only this stream.
    """
    rows = _all(connection) if stream_id is None else _one(connection, stream_id)
    for found, entries in groupby(rows, key=lambda entry: entry.stream_id):
        yield found, list(entries)


def _all(connection: Connection) -> Iterator[Entry]:
    after = {"stream_id": "", "version": 0}
    while entries := [Entry(*tuple(row)) for row in connection.execute(_AFTER, after)]:
        yield from entries
        after = {"stream_id": entries[-1].stream_id, "version": entries[-1].version}


def _one(connection: Connection, stream_id: str) -> Iterator[Entry]:
    for row in connection.execute(_ONE, {"stream_id": stream_id}):
        yield Entry(*tuple(row))


def count(connection: Connection, stream_id: str | None = None) -> int:
    """The number of events."""
    query = sa.select(sa.func.count()).select_from(saga_events)
    return connection.scalar(query if stream_id is None else query.where(_events.stream_id == stream_id)) or 0


def archived(connection: Connection, stream_ids: Sequence[str] | None = None) -> dict[str, Head]:
    """The heads of archived streams.

    Args:
        connection: To read with.
        stream_ids: Only these streams; None: all of which the log still holds events.
    """
    is_there = sa.exists().where(_events.stream_id == _archives.stream_id)
    which = is_there if stream_ids is None else _archives.stream_id.in_(stream_ids)
    query = sa.select(_archives.stream_id, _archives.version, _archives.hash).where(which)
    return {found: Head(version, hash_) for found, version, hash_ in connection.execute(query)}


def heads(connection: Connection) -> Iterator[tuple[str, Head]]:
    """The head of every stream, archived streams included, in the order of the bytes of their ids.

    Args:
        connection: In a transaction that sees one state of the log; it is busy until the last head is read.
    """
    last = sa.select(_events.stream_id, sa.func.max(_events.version).label("version")).group_by(_events.stream_id)
    ends = last.subquery()
    is_last = (_events.stream_id == ends.c.stream_id) & (_events.version == ends.c.version)
    there = sa.select(_events.stream_id, _events.version, _events.hash).join_from(saga_events, ends, is_last)
    gone = sa.select(_archives.stream_id, _archives.version, _archives.hash)
    is_gone = sa.exists().where(_archives.stream_id == _events.stream_id)
    both = sa.union_all(there.where(~is_gone), gone).subquery()
    order = driver_of(connection.dialect).by_bytes(both.c.stream_id)
    with streamed(connection, sa.select(both).order_by(order), yield_per=1000) as rows:
        for row in rows:
            yield row.stream_id, Head(row.version, row.hash)


def hashes_at(connection: Connection, places: Mapping[str, int]) -> dict[str, str]:
    """The hashes of streams at these versions, for those that the log holds."""
    query = sa.select(_events.stream_id, _events.version, _events.hash).where(
        _events.stream_id.in_(places), _events.version.in_(set(places.values()))
    )
    return {stream_id: hash_ for stream_id, version, hash_ in connection.execute(query) if places[stream_id] == version}


def ends_of(connection: Connection, stream_ids: Sequence[str]) -> dict[str, int]:
    """The last versions of these streams, for those that the log holds."""
    query = sa.select(_events.stream_id, sa.func.max(_events.version)).group_by(_events.stream_id)
    return {row[0]: row[1] for row in connection.execute(query.where(_events.stream_id.in_(stream_ids)))}
