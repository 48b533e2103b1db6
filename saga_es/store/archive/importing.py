"""Importing: the streams of a bundle enter the log, with their hashes and times.

A saga that was archived from this log returns to its positions, and its row in saga_archives is removed. A saga from
another log is appended at new positions: its old ones may be taken, and readers that follow this log by positions must
not miss it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
from sqlalchemy.engine import Connection

from saga_es.core.invariants import violations
from saga_es.errors import ImportRefused, UnreadableEvent
from saga_es.store.archive.archives import hashes_of, heads_in_archives, put, put_back
from saga_es.store.archive.bundle import streams_in
from saga_es.store.database import Database
from saga_es.store.log.chain import Head
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Entry, Recorded
from saga_es.store.sagas import Sagas
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views.forgetting import remember
from saga_es.store.views.kinds import Views

AT_ONCE = 50
"""Streams imported in one transaction."""


class Brought(msgspec.Struct):
    """How many streams of a bundle were imported.

    Attributes:
        back: Archived from this log, and now back in it.
        new: From another log.
        there: In the log already; nothing was done.
    """

    back: int = 0
    new: int = 0
    there: int = 0
    events: int = 0

    @property
    def streams(self) -> int:
        """All streams that were handled."""
        return self.back + self.new + self.there


class Importing:
    """Imports bundles into the log.

    Args:
        unfinished: Whether sagas that have not ended may be imported: a worker here continues them.
    """

    def __init__(self, database: Database, sagas: Sagas, views: Views, *, unfinished: bool = False) -> None:
        self._database = database
        self._sagas = sagas
        self._log = sagas.log
        self._views = views
        self._unfinished = unfinished

    def bring(self, path: Path) -> Iterator[Brought]:
        """Import the streams of a bundle; before that, the whole bundle is read and every hash checked.

        It may be repeated after a crash at any moment: streams that are in the log already are skipped.

        Yields:
            How far it is, after each transaction.

        Raises:
            BadBundle: It is no bundle, or not whole, or was changed; nothing was imported.
            ImportRefused: A saga has not ended, or differs from one in this log; the streams before it were imported.
        """
        for _ in streams_in(path):
            pass
        brought = Brought()
        streams = streams_in(path)
        while some := list(islice(streams, AT_ONCE)):
            plans = [entries for entries in some if entries[0].category == PLAN]
            for entries in plans:
                self._check_plan(entries)
            self._transact(plans, brought)  # first, alone: sagas are folded with committed plans
            others = [entries for entries in some if entries[0].category != PLAN]
            for entries in others:
                self._check_saga(entries)
            self._transact(others, brought)
            yield brought

    def _check_plan(self, entries: list[Entry]) -> None:
        plan_id = entries[0].stream_id
        try:
            self._sagas.recorded_plan(plan_id, entries)
        except UnreadableEvent as error:
            raise ImportRefused(plan_id, str(error)) from error

    def _check_saga(self, entries: list[Entry]) -> None:
        """Check that a saga is one, and, unless it may go on here, that it has ended."""
        if entries[0].category != SAGA:
            return
        stream_id = entries[0].stream_id
        try:
            events = [self._log.decode(entry) for entry in entries]
            state = self._sagas.folded(events)
        except UnreadableEvent as error:
            if self._unfinished:  # a newer version wrote it: a worker leaves it alone
                return
            raise ImportRefused(stream_id, f"nobody can tell whether it has ended: {error}") from error
        if state is None:
            raise ImportRefused(stream_id, "it is no saga")
        if not self._unfinished and not state.status.ended:
            why = f"it is {state.status}, and a worker here would continue it (see --unfinished)"
            raise ImportRefused(stream_id, why)

    def _check_sound(self, entries: list[Entry]) -> None:
        """Check that a saga of another log keeps the rules of sagas; one of this log did when it was archived."""
        stream_id = entries[0].stream_id
        events = self._recorded([entries])
        state = self._sagas.folded(events) if len(events) == len(entries) else None
        if state is None:  # not a saga, or written by a newer version
            return
        for violation in violations(stream_id, state.plan, [(found.version, found.event) for found in events]):
            raise ImportRefused(stream_id, f"at version {violation.version} it breaks a rule: {violation.rule}")

    def _transact(self, streams: list[list[Entry]], brought: Brought) -> None:
        if not streams:
            return
        with (
            schema_lock(self._database),
            self._database.writing() as connection,
        ):  # not during a replay
            back, new, there = self._sorted(connection, streams)
            for entries in new:
                self._check_sound(entries)
            put_back(connection, back)
            for entries in new:
                put(connection, entries, anew=True)
            remember(connection, self._views, self._recorded(back))
            self._views.apply(connection, self._recorded(new))
        brought.back += len(back)
        brought.new += len(new)
        brought.there += len(there)
        brought.events += sum(map(len, [*back, *new]))

    def _recorded(self, streams: Iterable[list[Entry]]) -> list[Recorded]:
        decoded = self._log.decode_all(entry for entries in streams for entry in entries)
        return [found for found in decoded if isinstance(found, Recorded)]

    def _sorted(
        self, connection: Connection, streams: list[list[Entry]]
    ) -> tuple[list[list[Entry]], list[list[Entry]], list[list[Entry]]]:
        """Streams that return, streams that are new, and streams that are in the log already."""
        ids = [entries[0].stream_id for entries in streams]
        archived, here = heads_in_archives(connection, ids), hashes_of(connection, ids)
        back, new, there = [], [], []
        for entries in streams:
            last = entries[-1]
            if last.stream_id in archived:
                if archived[last.stream_id] != Head(last.version, last.hash):
                    raise ImportRefused(last.stream_id, "this log has archived it with another end")
                back.append(entries)
            elif last.stream_id not in here:
                new.append(entries)
            elif last.hash in here[last.stream_id]:
                there.append(entries)
            else:
                raise ImportRefused(last.stream_id, "this log has other events under that id")
        return back, new, there
