"""The log: the only source of truth. It is read here; `saga_es.store.writer` appends to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from saga_es.store.database import Database
from saga_es.store.drivers.streamed import streamed
from saga_es.store.log.chain import Head, chain
from saga_es.store.log.codec import Codec
from saga_es.store.log.entries import Entry, Recorded, StreamSize, is_possible
from saga_es.store.log.heads import Heads
from saga_es.store.log.reader import Reader
from saga_es.store.tables import saga_archives, saga_events

STREAMS_AT_ONCE = 500
"""Streams that one query reads: databases limit the number of parameters."""

ROWS_AT_ONCE = 250
MOST_BYTES = 16_777_216
"""Bytes of the log read at once; a single larger event is still read."""


APPEND = sa.insert(saga_events)
"""Appends chained rows. It fails when a version is taken: the stream has passed the expected version."""

_SELECT = sa.select(*saga_events.c)
_STREAM = _SELECT.where(saga_events.c.stream_id == sa.bindparam("stream_id")).order_by(saga_events.c.version)
_OTHER = saga_events.alias()
_LAST = _SELECT.where(
    saga_events.c.stream_id == sa.bindparam("stream_id"),
    saga_events.c.version
    == sa.select(sa.func.max(_OTHER.c.version))
    .where(_OTHER.c.stream_id == sa.bindparam("stream_id"))
    .scalar_subquery(),
)
_ARCHIVE = sa.select(saga_archives.c.archive).where(saga_archives.c.stream_id == sa.bindparam("stream_id"))
_HASHES = sa.select(saga_events.c.stream_id, saga_events.c.version, saga_events.c.hash).where(
    saga_events.c.stream_id.in_(sa.bindparam("stream_ids", expanding=True)),
    saga_events.c.version.in_(sa.bindparam("versions", expanding=True)),
)


class Log(Reader):
    """Reads the log, and prepares rows for the append."""

    def __init__(self, database: Database, codec: Codec) -> None:
        super().__init__(codec)
        self._database = database
        size: Any = sa.select(sa.func.count(), sa.func.sum(database.driver.octets(saga_events.c.data)))
        self._size = size.where(saga_events.c.stream_id == sa.bindparam("stream_id"))

    def chained(
        self,
        rows: Sequence[dict[str, Any]],
        heads: Heads | None = None,
        connection: Connection | None = None,
        covers: Sequence[bytes] | None = None,
    ) -> dict[str, Head]:
        """Give each row its hash; the rows are then ready for `APPEND`.

        Args:
            rows: Each stream's in the order of versions.
            heads: The known heads; others are read. Events never change, so they may be read before the append.
            connection: To read with; None: another connection is opened if needed.
            covers: What the hash of each row covers after the hash before it, if that is known.

        Returns:
            The heads of the streams after the rows.

        Raises:
            VersionConflict: A stream has not reached the expected version.
            StoreUnavailable: The database did not answer.
        """
        return chain(rows, self._before(rows, heads, connection), covers)

    def _before(
        self, rows: Sequence[dict[str, Any]], known: Heads | None, connection: Connection | None
    ) -> dict[str, Head]:
        """The heads before the rows; one query reads those that are not remembered."""
        expected: dict[str, int] = {}
        for row in rows:
            if row["stream_id"] not in expected:
                expected[row["stream_id"]] = row["version"] - 1
        heads = {} if known is None else known.at(expected)
        unknown: dict[str, int] = {}
        for stream_id, version in expected.items():
            if version and stream_id not in heads:
                unknown[stream_id] = version  # noqa: PERF403 (every append comes here, and finds none)
        if not unknown:
            return heads
        with nullcontext(connection) if connection is not None else self._database.reading() as reading:
            return heads | self._heads_at(reading, unknown)

    def _heads_at(self, connection: Connection, versions: dict[str, int]) -> dict[str, Head]:
        streams = list(versions)
        heads: dict[str, Head] = {}
        for start in range(0, len(streams), STREAMS_AT_ONCE):
            some = streams[start : start + STREAMS_AT_ONCE]
            asked = {"stream_ids": some, "versions": sorted({versions[stream_id] for stream_id in some})}
            for stream_id, version, hash_ in connection.execute(_HASHES, asked):
                if versions[stream_id] == version:
                    heads[stream_id] = Head(version, hash_)
        return heads

    def archive_of(self, stream_id: str) -> str | None:
        """The name of the archive that holds a stream; None when no archive does."""
        if not is_possible(stream_id):
            return None
        with self._database.reading() as connection:
            return connection.scalar(_ARCHIVE, {"stream_id": stream_id})

    def version(self, connection: Connection, stream_id: str) -> int:
        """The stream's version: 0 when it does not exist."""
        found = connection.scalar(
            sa.select(sa.func.max(saga_events.c.version)).where(saga_events.c.stream_id == stream_id)
        )
        return found or 0

    def holds(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> bool:
        """Whether exactly these rows are in the log: this settles a commit whose answer was lost.

        Args:
            connection: To read with.
            rows: Chained rows: the last hash of a stream vouches for all of its rows.
        """
        last = {row["stream_id"]: Head(row["version"], row["hash"]) for row in rows}
        found = self._heads_at(connection, {stream_id: head.version for stream_id, head in last.items()})
        return found == last

    def read(self, stream_id: str, connection: Connection | None = None) -> list[Recorded]:
        """The events of a stream, in order, at present or as a connection sees it; empty when it does not exist.

        Raises:
            UnreadableEvent: An event cannot be decoded.
            StoreUnavailable: The database did not answer.
        """
        return [self.decode(entry) for entry in self.entries_of([stream_id], connection)[stream_id]]

    def entries_of(
        self, stream_ids: Sequence[str], connection: Connection | None = None, types: Sequence[str] = ()
    ) -> dict[str, list[Entry]]:
        """The rows of several streams, each in order, all or those of some types; never decoded."""
        streams: dict[str, list[Entry]] = {stream_id: [] for stream_id in stream_ids}
        possible = [stream_id for stream_id in streams if is_possible(stream_id)]
        if connection is None and len(possible) == 1 and not types:  # every call to a participant reads a stream or two
            rows = self._database.look_up(_STREAM, {"stream_id": possible[0]})
            streams[possible[0]] = self._seen([Entry(*row) for row in rows])
            return streams
        with nullcontext(connection) if connection is not None else self._database.reading() as reading:
            for start in range(0, len(possible), STREAMS_AT_ONCE):
                some = saga_events.c.stream_id.in_(possible[start : start + STREAMS_AT_ONCE])
                wanted = [some, saga_events.c.type.in_(types)] if types else [some]
                for row in reading.execute(
                    _SELECT.where(*wanted).order_by(saga_events.c.stream_id, saga_events.c.version)
                ):
                    streams[row.stream_id].append(_entry(row))
        return {stream_id: self._seen(entries) for stream_id, entries in streams.items()}

    def entries(
        self,
        stream_id: str | None = None,
        after_position: int = 0,
        limit: int | None = None,
        *,
        until_position: int | None = None,
    ) -> list[Entry]:
        """Rows, unchanged, of one stream or of the whole log, in the order of positions; never decoded."""
        query = _SELECT.where(saga_events.c.position > after_position).order_by(saga_events.c.position).limit(limit)
        if until_position is not None:
            query = query.where(saga_events.c.position <= until_position)
        if stream_id is not None and not is_possible(stream_id):
            return []
        if stream_id is not None:
            query = query.where(saga_events.c.stream_id == stream_id)
        with self._database.reading() as connection:
            return self._seen([_entry(row) for row in connection.execute(query)])

    def last_of(self, stream_id: str) -> Recorded | None:
        """The last event of a stream; None if the stream does not exist.

        Raises:
            UnreadableEvent: It cannot be decoded.
            StoreUnavailable: The database did not answer.
        """
        rows = self._database.look_up(_LAST, {"stream_id": stream_id})
        seen = self._seen([Entry(*row) for row in rows])
        return self.decode(seen[0]) if seen else None

    def versions_of(self, stream_ids: Sequence[str]) -> dict[str, int]:
        """The number of events of each of these streams that exists; pass at most some hundreds."""
        version = sa.func.max(saga_events.c.version)
        possible = [stream_id for stream_id in stream_ids if is_possible(stream_id)]
        query = sa.select(saga_events.c.stream_id, version).where(saga_events.c.stream_id.in_(possible))
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(saga_events.c.stream_id))}

    def size_of(self, stream_id: str) -> StreamSize:
        """How large a stream is; it is not read."""
        if not is_possible(stream_id):
            return StreamSize(0, 0)
        ((events, size),) = self._database.look_up(self._size, {"stream_id": stream_id})
        return StreamSize(events, int(size or 0))

    def last_position(self) -> int:
        """The position of the newest event; 0 when there is none."""
        with self._database.reading() as connection:
            return connection.scalar(sa.select(sa.func.max(saga_events.c.position))) or 0

    def reaches(self, many: int, until_position: int) -> bool:
        """Whether the log has more than this many events up to a position."""
        positions = sa.select(saga_events.c.position).where(saga_events.c.position <= until_position)
        with self._database.reading() as connection:
            return connection.scalar(positions.order_by(saga_events.c.position).offset(many).limit(1)) is not None

    def walk(self, stream_id: str | None = None, after_position: int = 0, chunk: int = 1000) -> Iterator[Entry]:
        """Rows, unchanged, of one stream or of the whole log, in the order of positions, read in chunks."""
        while True:
            entries = self.entries(stream_id, after_position, chunk)
            yield from entries
            if len(entries) < chunk:
                return
            after_position = entries[-1].position

    def after(self, connection: Connection, position: int, limit: int, most_bytes: int = MOST_BYTES) -> list[Entry]:
        """Rows after a position, in the order of positions, as a connection sees them.

        Args:
            connection: To read with.
            position: Exclusive.
            limit: Rows at most, and at least one.
            most_bytes: After this many characters of JSON no more rows are read, so that memory stays flat.
        """
        query = _SELECT.where(saga_events.c.position > position).order_by(saga_events.c.position).limit(limit)
        entries: list[Entry] = []
        size = 0
        with streamed(connection, query) as rows:
            for part in rows.partitions(ROWS_AT_ONCE):
                found = [_entry(row) for row in part]
                entries += found
                size += sum(len(entry.text) for entry in found)
                if size > most_bytes:
                    break
        return self._seen(entries)

    def part(self, stream_id: str, after_version: int, limit: int, most_bytes: int) -> list[Entry]:
        """Rows of a stream after a version, in order: so many at most, of so many characters of JSON, but one."""
        if not is_possible(stream_id):
            return []
        place = (saga_events.c.stream_id == stream_id) & (saga_events.c.version > after_version)
        query = _SELECT.where(place).order_by(saga_events.c.version).limit(limit)
        entries: list[Entry] = []
        # Few at once: one may have a megabyte and more.
        with self._database.reading() as connection, streamed(connection, query, max_row_buffer=16) as rows:
            for entry in map(_entry, rows):
                most_bytes -= len(entry.text)
                if entries and most_bytes < 0:
                    break
                entries.append(entry)
        return self._seen(entries)

    def _seen(self, entries: list[Entry]) -> list[Entry]:
        """Rows as the reader of this log may see them; each method that returns rows passes them through here."""
        return entries


def _entry(row: Row[Any]) -> Entry:
    return Entry(*tuple(row))
