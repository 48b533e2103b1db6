"""The tail of the log, read in the order of positions, never past a gap that may still be filled.

Servers assign positions before they commit: below a position that can be read there may be a gap that a running
transaction will fill. A reader that keeps a checkpoint must not pass such a gap. It may pass a final gap, left by a
transaction that was rolled back or by events that were archived.

Owns: which gaps are final. Refuses: to hold up appends. `drivers/gaps.py` says how a database shows that a gap is
final.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy as sa

from saga_es.store.database import Database
from saga_es.store.drivers.gaps import NoGaps, RowsLocked, WritersKnown
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import Log
from saga_es.store.tables import saga_events

FOLLOW_EVERY_S = 0.25
CHUNK = 1000

AGE_S = 1.0
"""How long a gap must have existed before locks are asked about it: thousands of times the duration of an insert."""


class Stretch(msgspec.Struct, frozen=True):
    """A piece of the log.

    Attributes:
        entries: Its rows, in the order of positions.
        reached: The position to go on after.
        is_last: Whether it reaches the end of the log.
    """

    entries: Sequence[Entry]
    reached: int
    is_last: bool


class _Mark(msgspec.Struct, frozen=True):
    """A position that was seen, and the transactions that must end before everything below it is final."""

    position: int
    seen_at: float
    writers: frozenset[str]


class Tail:
    """Reads on from a position again and again, for one reader.

    Args:
        database: Where the log is.
        log: The log.
        age_s: How long a gap must have existed before locks are asked about it.
    """

    def __init__(self, database: Database, log: Log, age_s: float = AGE_S) -> None:
        self._database = database
        self._gaps = database.driver.gaps
        self._log = log
        self._age_s = age_s
        self._mark: _Mark | None = None
        self._settled = 0

    def read(self, after_position: int, limit: int) -> Stretch:
        """The events after a position that are final.

        Args:
            after_position: Exclusive.
            limit: Events at most.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        self._settle()  # first: the rows of a transaction that has ended by now are read below
        with self._database.reading() as connection:
            entries = self._log.after(connection, after_position, limit)
            end = self._end(after_position, entries)
            if end < len(entries) and self._mark is None:
                seen = connection.scalar(sa.select(sa.func.max(saga_events.c.position)))
                self._mark = _Mark(seen or 0, monotonic_s(), self._writers())
        kept = entries[:end]
        # The end of the log is not known to be passed: the next position may be assigned already.
        return Stretch(kept, kept[-1].position if kept else after_position, end == len(entries) < limit)

    def _settle(self) -> None:
        if self._mark is None:
            return
        match self._gaps:
            case WritersKnown():
                is_over = not self._mark.writers & self._writers()
            case NoGaps() | RowsLocked():
                is_over = monotonic_s() - self._mark.seen_at >= self._age_s
        if is_over:
            self._settled = self._mark.position
            self._mark = None

    def _end(self, after_position: int, entries: Sequence[Entry]) -> int:
        """How many of the entries can be returned."""
        if isinstance(self._gaps, NoGaps):
            return len(entries)
        before = after_position
        for number, entry in enumerate(entries):
            if entry.position != before + 1 and not self._stays(before, entry.position):
                return number
            before = entry.position
        return len(entries)

    def _stays(self, above: int, below: int) -> bool:
        """Whether a gap is final."""
        if below > self._settled:
            return False
        match self._gaps:
            case RowsLocked(finds_nothing):
                position = saga_events.c.position
                gap = sa.select(position).where(position > above, position < below).limit(1)
                with self._database.reading() as connection:
                    return finds_nothing(connection, gap)
            case NoGaps() | WritersKnown():
                return True

    def _writers(self) -> frozenset[str]:
        match self._gaps:
            case WritersKnown(writers):
                with self._database.reading() as connection:
                    return writers(connection)
            case NoGaps() | RowsLocked():
                return frozenset()


def follow(
    database: Database, log: Log, stream_id: str | None = None, every_s: float = FOLLOW_EVERY_S, after: int = 0
) -> Iterator[Entry]:
    """The log, or one stream, from a position on, and then new events, in order, for ever.

    Args:
        database: Where the log is.
        log: The log.
        stream_id: The stream; None: all streams, in the order of positions.
        every_s: Seconds between two reads at the end.
        after: The position, exclusive.
    """
    entries = _stream(log, stream_id, after) if stream_id is not None else _whole(Tail(database, log), after)
    for entry in entries:
        if entry is None:
            time.sleep(every_s)
        else:
            yield entry


def _stream(log: Log, stream_id: str, position: int) -> Iterator[Entry | None]:
    """A version is committed only after the version before it: a stream has no gaps."""
    while True:
        for entry in log.walk(stream_id, position):
            yield entry
            position = entry.position
        yield None


def _whole(tail: Tail, position: int) -> Iterator[Entry | None]:
    while True:
        stretch = tail.read(position, CHUNK)
        yield from stretch.entries
        position = stretch.reached
        if stretch.is_last or not stretch.entries:
            yield None
