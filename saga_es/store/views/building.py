"""Building views in tables beside their own, in one pass over the log for all of them.

Owns: that a view that fails on an event is reported with the event, and no other view fails with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from saga_es.errors import ProjectionFailed
from saga_es.store import registry
from saga_es.store.database import Database
from saga_es.store.drivers.compiled import execute_many
from saga_es.store.drivers.error_codes import reason
from saga_es.store.drivers.names import ours
from saga_es.store.drivers.writes import Write
from saga_es.store.log.entries import Entry, Recorded, Unreadable
from saga_es.store.log.log import Log
from saga_es.store.log.tail import Tail
from saga_es.store.registry import Kind
from saga_es.store.views.kinds import Projection, sort_out
from saga_es.store.views.recalling import recall
from saga_es.store.views.shadows import clear, shadow

CHUNK = 2000
"""Events in one transaction; on SQLite other writers wait meanwhile."""

NEAR = 100
"""Events that may remain for the moment in which nobody can append."""

APPROACHES = 20
"""How often to come nearer when more than `NEAR` events are appended meanwhile."""

Progress = Callable[[int, int], None]
"""Receives the position that has been reached, and the last position."""


class Builder:
    """Builds views in tables beside their own.

    Args:
        connection: In no transaction; it holds the schema lock.
        database: The same database, to read the log through.
        log: The log.
        views: The views to build.
        suffix: The suffix of the names of the new tables.
        progress: Receives the position that has been reached, and the last position.

    Attributes:
        views: The views that have not failed.
        failures: The failures of the others, by view.
        position: The position that the tables have reached.
        events: How many events have been read.
        failed_last: Whether a view failed in the last `catch_up`.
        unread: How many events of each kind this version cannot read; the views lack them.
    """

    def __init__(
        self,
        connection: Connection,
        database: Database,
        log: Log,
        views: Iterable[Projection],
        suffix: str,
        progress: Progress,
    ) -> None:
        self.views = list(views)
        self.failures: dict[str, ProjectionFailed] = {}
        self.position = 0
        self.events = 0
        self.unread: Counter[str] = Counter()
        self.failed_last = False
        self._connection = connection
        self._database = database
        self._log = log.without_keys()
        self._suffix = suffix
        self._progress = progress
        self._tables = {view.name: shadow(view, suffix, database.driver) for view in self.views}
        self._last = 0

    def make_tables(self) -> None:
        """Make the tables, empty; the remains of an interrupted build are removed.

        Raises:
            NotOurs: Something that we did not make has the name of one of the tables.
        """
        clear(self._connection, self._tables, self._suffix)
        with self._connection.begin():
            registry.claimed(self._connection, [view.name for view in self._tables.values()])
            for view in self._tables.values():
                registry.record(self._connection, view.name, registry.columns_of(view.table), Kind.SHADOW)
                view.create(self._connection)

    def fill(self, tail: Tail, until: int | None = None) -> None:
        """Apply the log, until its end is near, or up to a position (inclusive)."""
        approaches = 0
        while approaches < APPROACHES:
            limit = CHUNK if until is None else min(CHUNK, until - self.position)
            stretch = tail.read(self.position, limit) if limit > 0 else None
            if stretch is None or not stretch.entries:
                return
            entries = [e for e in stretch.entries if until is None or e.position <= until]
            writes = self._writes(entries)
            with self._connection.begin():
                self._write(writes, entries)
            self.commit((stretch.reached, len(entries)))
            self._report(self.position, until)
            if stretch.is_last and len(entries) < NEAR:
                return
            approaches += stretch.is_last

    def catch_up(self, until: int | None = None, *, is_long: bool = False) -> tuple[int, int]:
        """Apply, in this one transaction, all remaining events that the transaction sees.

        Args:
            until: The last position wanted; None: all.
            is_long: Whether to report progress.

        Returns:
            The position that is reached if it commits, and the number of events applied.
        """
        position, many, sound = self.position, 0, len(self.views)
        while found := self._log.after(self._connection, position, CHUNK):
            entries = [entry for entry in found if until is None or entry.position <= until]
            self._write(self._writes(entries), entries)
            position, many = found[-1].position, many + len(entries)
            if is_long:
                self._report(position, until)
            if len(entries) < len(found):
                break
        self.failed_last = len(self.views) < sound
        return position if until is None else min(position, until), many

    def commit(self, reached: tuple[int, int]) -> None:
        """Record that what `catch_up` applied is committed."""
        self.position, many = reached
        self.events += many

    # ── A stretch of the log ─────────────────────────────────────────────────────────────────────────────

    def _report(self, position: int, until: int | None) -> None:
        if position > self._last:
            self._last = self._log.last_position()
        self._progress(position, self._last if until is None else until)

    def _writes(self, entries: Sequence[Entry]) -> list[tuple[Projection, Sequence[Recorded], list[Write]]]:
        """The views' writes for entries; computed before a transaction begins, so that it is short."""
        writes: list[tuple[Projection, Sequence[Recorded], list[Write]]] = []
        events = self._decoded(entries)
        for view, concerned in sort_out(list(self._tables.values()), events):
            recall(view, concerned, self._log)
            try:
                writes.append((view, concerned, view.writes(concerned, self._database.driver)))
            except ProjectionFailed as error:
                self._give_up(view, error, entries)
        return writes

    def _decoded(self, entries: Sequence[Entry]) -> list[Recorded]:
        wanted = {category for view in self._tables.values() for category in view.categories}
        decoded: list[Recorded] = []
        for found in self._log.decode_all(entry for entry in entries if entry.category in wanted):
            match found:
                case Recorded():
                    decoded.append(found)
                case Unreadable(entry):  # one event of a newer version must not prevent a whole view
                    self.unread[f"{entry.category}/{entry.type}"] += 1
        return decoded

    def _write(
        self, writes: Iterable[tuple[Projection, Sequence[Recorded], list[Write]]], entries: Sequence[Entry]
    ) -> None:
        for view, events, statements in writes:
            if not statements:
                continue
            try:
                with self._connection.begin_nested():
                    for statement, rows in statements:
                        execute_many(self._connection, statement, rows)
            except Exception as error:
                if isinstance(error, DBAPIError) and not self._database.driver.errors.is_about_values(error):
                    raise
                self._give_up(view, self._culprit(view, events, error), entries)

    def _culprit(self, view: Projection, events: Sequence[Recorded], error: Exception) -> ProjectionFailed:
        """The first event whose rows the database refuses; the last event if it accepts each alone."""
        culprit = events[-1]
        with self._connection.begin_nested() as attempt:
            for event in events:
                try:
                    with self._connection.begin_nested():
                        view.apply(self._connection, [event])
                except Exception as its_own:  # noqa: BLE001 (drivers raise what they like for a value they cannot send)
                    culprit, error = event, its_own
                    break
            attempt.rollback()
        why = reason(error)
        return ProjectionFailed(view.name, culprit.stream_id, culprit.version, type(culprit.event).__name__, why)

    def _give_up(self, table: Projection, failed: ProjectionFailed, entries: Sequence[Entry]) -> None:
        name = table.name.removesuffix(self._suffix)
        places = {(entry.stream_id, entry.version): entry.position for entry in entries}
        self.failures[name] = failed.named(name, places[failed.stream_id, failed.version])
        self.views = [view for view in self.views if view.name != name]
        del self._tables[ours(name)]
