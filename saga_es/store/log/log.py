"""The log: append with an expected version, and read. The only source of truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from saga_es.errors import BadStreamId, NothingToAppend, UnreadableEvent
from saga_es.store.database import Database
from saga_es.store.drivers.compiled import execute_many
from saga_es.store.log.chain import Head, chain
from saga_es.store.log.codec import Codec
from saga_es.store.log.heads import Heads
from saga_es.store.tables import saga_archives, saga_events

STREAM_ID_LIMIT = 64
STREAMS_AT_ONCE = 500
"""Streams one query reads: databases take only so many parameters."""

ROWS_AT_ONCE = 250
MOST_BYTES = 16_777_216
"""What is read of the log at once, beside one event that is larger."""


class Recorded(msgspec.Struct, frozen=True):
    """An event with its place in its stream."""

    stream_id: str
    category: str
    version: int
    event: Any
    recorded_at: datetime


class Entry(msgspec.Struct, frozen=True):
    """A row of the log as it stands: `text` is the JSON as it was written."""

    position: int
    stream_id: str
    category: str
    version: int
    type: str
    text: str
    recorded_at: datetime
    schema: int
    hash: str


class Unreadable(msgspec.Struct, frozen=True):
    """An entry that this version cannot decode, and why."""

    entry: Entry
    why: str


class Draft(msgspec.Struct, frozen=True):
    """Events to be appended to one stream, all or none.

    The stamp is taken once, when the draft is made: a draft that is written again after a lost answer is
    the same draft, and its rows can be told from anybody else's.

    Attributes:
        notifies: Whoever owns the stream's saga is to look at it: the one who appends does not.
    """

    stream_id: str
    category: str
    expected_version: int
    events: tuple[Any, ...]
    recorded_at: datetime
    notifies: bool = False

    def recorded(self) -> list[Recorded]:
        """The events as they stand in the stream once appended."""
        return [
            Recorded(self.stream_id, self.category, version, event, self.recorded_at)
            for version, event in enumerate(self.events, self.expected_version + 1)
        ]


APPEND = sa.insert(saga_events)
"""Appends rows that are chained. It fails when a version is taken: its stream has moved past what was expected."""

_SELECT = sa.select(*saga_events.c)
_STREAM = _SELECT.where(saga_events.c.stream_id == sa.bindparam("stream_id")).order_by(saga_events.c.version)
_ARCHIVE = sa.select(saga_archives.c.archive).where(saga_archives.c.stream_id == sa.bindparam("stream_id"))
_HASHES = sa.select(saga_events.c.stream_id, saga_events.c.version, saga_events.c.hash).where(
    saga_events.c.stream_id.in_(sa.bindparam("stream_ids", expanding=True)),
    saga_events.c.version.in_(sa.bindparam("versions", expanding=True)),
)


class Log:
    """Reads the log, and writes to it inside a transaction somebody else owns."""

    def __init__(self, database: Database, codec: Codec) -> None:
        self._database = database
        self._codec = codec

    def rows(self, draft: Draft) -> list[dict[str, Any]]:
        """The rows of a draft.

        Raises:
            BadStreamId: The log does not take such an id.
            NothingToAppend: There are no events in it.
            PayloadTooLarge: An event is larger than the limit.
            PayloadUnencodable: An event has no JSON form.
        """
        check_stream_id(draft.stream_id)
        if not draft.events:
            raise NothingToAppend(draft.stream_id)
        schema = self._codec.schema(draft.category)
        return [
            {
                "stream_id": draft.stream_id,
                "category": draft.category,
                "version": version,
                "type": type(event).__name__,
                "data": self._codec.encode(event),
                "recorded_at": draft.recorded_at,
                "schema": schema,
            }
            for version, event in enumerate(draft.events, draft.expected_version + 1)
        ]

    def append(
        self, connection: Connection, rows: Sequence[dict[str, Any]], heads: Heads | None = None
    ) -> dict[str, Head]:
        """Chain rows, and append them in the transaction of the connection; for the rest see `chained`.

        Raises:
            sqlalchemy.exc.IntegrityError: A version is taken: its stream has moved past what was expected. Nothing
                of the transaction holds then.
        """
        reached = self.chained(rows, heads, connection)
        execute_many(connection, APPEND, rows)
        return reached

    def chained(
        self, rows: Sequence[dict[str, Any]], heads: Heads | None = None, connection: Connection | None = None
    ) -> dict[str, Head]:
        """Give each row its hash; the rows are then ready for `APPEND`.

        Args:
            rows: Those of each stream in the order of versions.
            heads: What is known of streams; what is not is read. Events never change: it may be read before the append.
            connection: To read with; one of its own is taken if need be.

        Returns:
            Where each stream stands once the rows are appended.

        Raises:
            VersionConflict: A stream is not as far as was expected.
            StoreUnavailable: The database did not answer.
        """
        return chain(rows, self._before(rows, heads, connection))

    def _before(
        self, rows: Sequence[dict[str, Any]], known: Heads | None, connection: Connection | None
    ) -> dict[str, Head]:
        """The heads that rows go on from; those that nobody remembers by one query."""
        expected: dict[str, int] = {}
        for row in rows:
            expected.setdefault(row["stream_id"], row["version"] - 1)
        heads: dict[str, Head] = {}
        unknown: dict[str, int] = {}
        for stream_id, version in expected.items():
            head = known.get(stream_id) if known is not None and version else None
            if head is not None and head.version == version:
                heads[stream_id] = head
            elif version:
                unknown[stream_id] = version
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

    def put(self, connection: Connection, entries: Sequence[Entry], *, anew: bool = False) -> None:
        """Put entries into the log as they are, in the transaction of the connection.

        Args:
            connection: In a transaction.
            entries: In the order in which the database is to take them.
            anew: At new positions, not at their own.

        Raises:
            sqlalchemy.exc.IntegrityError: A place is taken.
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

    def hashes_of(self, connection: Connection, stream_ids: Sequence[str]) -> dict[str, set[str]]:
        """The hashes of all events of some streams; nothing of those that do not exist."""
        hashes: dict[str, set[str]] = defaultdict(set)
        query = sa.select(saga_events.c.stream_id, saga_events.c.hash).where(saga_events.c.stream_id.in_(stream_ids))
        for stream_id, hash_ in connection.execute(query):
            hashes[stream_id].add(hash_)
        return dict(hashes)

    def archive_of(self, stream_id: str) -> str | None:
        """The name of the archive that a stream is in; None when it is in none."""
        if not _is_possible(stream_id):
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
        """Whether exactly these rows stand in the log: the answer to a commit whose answer was lost.

        Args:
            connection: To read with.
            rows: Chained: the last hash of a stream vouches for all of its rows.
        """
        last = {row["stream_id"]: Head(row["version"], row["hash"]) for row in rows}
        found = self._heads_at(connection, {stream_id: head.version for stream_id, head in last.items()})
        return found == last

    def read(self, stream_id: str, connection: Connection | None = None) -> list[Recorded]:
        """The events of a stream, in order, as of now or as a connection sees it; empty when it does not exist.

        Raises:
            UnreadableEvent: An event cannot be decoded.
            StoreUnavailable: The database did not answer.
        """
        return [self.decode(entry) for entry in self.entries_of([stream_id], connection)[stream_id]]

    def read_many(self, stream_ids: Sequence[str]) -> dict[str, list[Recorded]]:
        """The events of several streams, each in order; an empty list for a stream that does not exist."""
        streams = self.entries_of(stream_ids)
        return {stream_id: [self.decode(entry) for entry in entries] for stream_id, entries in streams.items()}

    def entries_of(self, stream_ids: Sequence[str], connection: Connection | None = None) -> dict[str, list[Entry]]:
        """The rows of several streams, each in order; never decoded."""
        streams: dict[str, list[Entry]] = {stream_id: [] for stream_id in stream_ids}
        possible = [stream_id for stream_id in streams if _is_possible(stream_id)]
        if connection is None and len(possible) == 1:  # every call to a participant asks for a stream or two
            streams[possible[0]] = [Entry(*row) for row in self._database.look_up(_STREAM, {"stream_id": possible[0]})]
            return streams
        with nullcontext(connection) if connection is not None else self._database.reading() as reading:
            for start in range(0, len(possible), STREAMS_AT_ONCE):
                some = saga_events.c.stream_id.in_(possible[start : start + STREAMS_AT_ONCE])
                for row in reading.execute(
                    _SELECT.where(some).order_by(saga_events.c.stream_id, saga_events.c.version)
                ):
                    streams[row.stream_id].append(_entry(row))
        return streams

    def entries(
        self,
        stream_id: str | None = None,
        after_position: int = 0,
        limit: int | None = None,
        *,
        until_position: int | None = None,
    ) -> list[Entry]:
        """Rows as they stand, of one stream or of the whole log, in the order of positions; never decoded."""
        query = _SELECT.where(saga_events.c.position > after_position).order_by(saga_events.c.position).limit(limit)
        if until_position is not None:
            query = query.where(saga_events.c.position <= until_position)
        if stream_id is not None and not _is_possible(stream_id):
            return []
        if stream_id is not None:
            query = query.where(saga_events.c.stream_id == stream_id)
        with self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def last_position(self) -> int:
        """The position of the newest event; 0 when there is none."""
        with self._database.reading() as connection:
            return connection.scalar(sa.select(sa.func.max(saga_events.c.position))) or 0

    def reaches(self, many: int, until_position: int) -> bool:
        """Whether the log has more than so many events up to a position."""
        positions = sa.select(saga_events.c.position).where(saga_events.c.position <= until_position)
        with self._database.reading() as connection:
            return connection.scalar(positions.order_by(saga_events.c.position).offset(many).limit(1)) is not None

    def walk(self, stream_id: str | None = None, after_position: int = 0, chunk: int = 1000) -> Iterator[Entry]:
        """Rows as they stand, of one stream or of the whole log, in the order of positions, read in chunks."""
        while True:
            entries = self.entries(stream_id, after_position, chunk)
            yield from entries
            if len(entries) < chunk:
                return
            after_position = entries[-1].position

    def after(self, connection: Connection, position: int, limit: int, most_bytes: int = MOST_BYTES) -> list[Entry]:
        """Rows behind a position, in the order of positions, as a connection sees them.

        Args:
            connection: To read with.
            position: Exclusive.
            limit: Rows at most, and at least one.
            most_bytes: Characters of JSON after which no more rows are read: memory stays flat whatever they hold.
        """
        query = _SELECT.where(saga_events.c.position > position).order_by(saga_events.c.position).limit(limit)
        entries: list[Entry] = []
        size = 0
        with connection.execute(query, execution_options={"stream_results": True}) as rows:
            for part in rows.partitions(ROWS_AT_ONCE):
                found = [_entry(row) for row in part]
                entries += found
                size += sum(len(entry.text) for entry in found)
                if size > most_bytes:
                    break
        return entries

    def told(self, entries: Iterable[Entry]) -> list[Recorded | Unreadable]:
        """The entries, each decoded if it can be: for who reads on where one cannot."""
        told: list[Recorded | Unreadable] = []
        for entry in entries:
            try:
                told.append(self.decode(entry))
            except UnreadableEvent as error:
                told.append(Unreadable(entry, error.why))
        return told

    def decode(self, entry: Entry) -> Recorded:
        """The entry with its event decoded.

        Raises:
            UnreadableEvent: It cannot be.
        """
        event = self._codec.decode(entry.category, entry.type, entry.text, entry.schema)
        return Recorded(entry.stream_id, entry.category, entry.version, event, entry.recorded_at)


def check_stream_id(stream_id: str) -> None:
    """Make sure that the log takes this id, the same on every database.

    Raises:
        BadStreamId: It does not.
    """
    try:
        stream_id.encode()
    except UnicodeEncodeError:
        raise BadStreamId(stream_id, STREAM_ID_LIMIT) from None
    if not 0 < len(stream_id) <= STREAM_ID_LIMIT or "\0" in stream_id:
        raise BadStreamId(stream_id, STREAM_ID_LIMIT)


def _is_possible(stream_id: str) -> bool:
    try:
        check_stream_id(stream_id)
    except BadStreamId:
        return False
    return True


def _entry(row: Row[Any]) -> Entry:
    return Entry(*tuple(row))


def by_stream(events: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    """Events grouped by stream, each group in its order."""
    streams: dict[str, list[Recorded]] = defaultdict(list)
    for event in events:
        streams[event.stream_id].append(event)
    return streams
