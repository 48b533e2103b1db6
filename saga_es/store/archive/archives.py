"""The rows of saga_archives: one for each stream that was archived, with the hash of its last event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.log.chain import Head
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import APPEND
from saga_es.store.tables import saga_archives, saga_events


def heads_in_archives(connection: Connection, stream_ids: Collection[str]) -> dict[str, Head]:
    """The heads of the archived streams among these, as they were when archived."""
    rows = connection.execute(sa.select(saga_archives).where(saga_archives.c.stream_id.in_(stream_ids)))
    return {row.stream_id: Head(row.version, row.hash) for row in rows}


def take_out(connection: Connection, streams: Iterable[list[Entry]], archive: str, archived_at: datetime) -> None:
    """Remove whole streams from the log, in the connection's transaction. The database permits no other removal.

    Raises:
        sqlalchemy.exc.IntegrityError: A stream differs from what is in the log now; nothing was removed.
    """
    ends = [entries[-1] for entries in streams]
    stones = [
        {
            "stream_id": end.stream_id,
            "version": end.version,
            "hash": end.hash,
            "archive": archive,
            "archived_at": archived_at,
        }
        for end in ends
    ]
    connection.execute(sa.insert(saga_archives), stones)
    connection.execute(sa.delete(saga_events).where(saga_events.c.stream_id.in_([end.stream_id for end in ends])))


def put_back(connection: Connection, streams: Iterable[list[Entry]]) -> None:
    """Put archived streams back at their positions, in the connection's transaction.

    The triggers accept them from the last event to the first: the last hash is known, and each event vouches for
    the event before it.
    """
    for entries in streams:
        put(connection, list(reversed(entries)))
        connection.execute(sa.delete(saga_archives).where(saga_archives.c.stream_id == entries[0].stream_id))


def put(connection: Connection, entries: Sequence[Entry], *, anew: bool = False) -> None:
    """Put entries into the log unchanged, in the connection's transaction.

    Args:
        connection: In a transaction.
        entries: In the order in which they are inserted.
        anew: Whether they get new positions.

    Raises:
        sqlalchemy.exc.IntegrityError: A position or a version is taken.
    """
    rows = [
        {
            "stream_id": entry.stream_id,
            "category": entry.category,
            "version": entry.version,
            "type": entry.type,
            "data": entry.text,
            "recorded_at": entry.recorded_at,
            "schema": entry.schema,
            "hash": entry.hash,
            **({} if anew else {"position": entry.position}),
        }
        for entry in entries
    ]
    connection.execute(APPEND, rows)


def hashes_of(connection: Connection, stream_ids: Sequence[str]) -> dict[str, set[str]]:
    """The hashes of all events of some streams; nothing of those that do not exist."""
    hashes: dict[str, set[str]] = defaultdict(set)
    query = sa.select(saga_events.c.stream_id, saga_events.c.hash).where(saga_events.c.stream_id.in_(stream_ids))
    for stream_id, hash_ in connection.execute(query):
        hashes[stream_id].add(hash_)
    return dict(hashes)
