"""Importing: the streams of a bundle enter the log, with their hashes and times.

A saga that was archived from this log returns to its positions, and its row in saga_archives is removed. A saga from
another log is appended at new positions: its old ones may be taken, and readers that follow this log by positions must
not miss it.

Each saga that comes in gets an event in a stream beside its own: who brought it, why, and from which file. A saga of
another log answers no start here (`Sagas.why_no_answer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import file_digest
from itertools import islice
from pathlib import Path

import msgspec
from sqlalchemy.engine import Connection

from saga_es.core import events as e
from saga_es.core.describe import plain
from saga_es.core.invariants import violations
from saga_es.errors import ImportRefused, UnreadableEvent
from saga_es.store.archive.archives import hashes_of, heads_in_archives, put, put_back
from saga_es.store.archive.bundle import streams_in
from saga_es.store.database import Database
from saga_es.store.log.chain import Head
from saga_es.store.log.codec import IMPORT, PLAN, SAGA
from saga_es.store.log.entries import Draft, Entry, Recorded, prepare
from saga_es.store.log.imports import import_of
from saga_es.store.log.log import APPEND, Log
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


Mark = Callable[..., e.SagaImported]
"""Makes the event of a saga's import; the file and the person are given."""


class By(msgspec.Struct, frozen=True):
    """Who imports, and why."""

    actor: str
    reason: str | None = None


class Importing:
    """Imports bundles into the log.

    Args:
        by: Who imports; each saga's import event says it.
        unfinished: Whether sagas that have not ended may be imported: a worker here continues them.
    """

    def __init__(
        self, database: Database, log: Log, sagas: Sagas, views: Views, by: By, *, unfinished: bool = False
    ) -> None:
        self._database = database
        self._sagas = sagas
        self._log = log.without_keys()
        self._views = views
        self._by = by
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
        for entries in streams_in(path):
            _check_category(entries[0])
        with path.open("rb") as file:
            sha256 = file_digest(file, "sha256").hexdigest()
        mark = partial(e.SagaImported, file=path.name, sha256=sha256, actor=self._by.actor, reason=self._by.reason)
        brought = Brought()
        streams = streams_in(path)
        while some := list(islice(streams, AT_ONCE)):
            plans = [entries for entries in some if entries[0].category == PLAN]
            for entries in plans:
                self._check_plan(entries)
            self._transact(plans, brought, mark)  # first, alone: sagas are folded with committed plans
            found = [entries for entries in some if entries[0].category == SAGA]
            for entries in found:
                self._check_saga(entries)
            self._transact(found, brought, mark)
            yield brought

    def _check_plan(self, entries: list[Entry]) -> None:
        plan_id = entries[0].stream_id
        try:
            self._sagas.recorded_plan(plan_id, entries)
        except UnreadableEvent as error:
            raise ImportRefused(plan_id, str(error)) from error

    def _check_saga(self, entries: list[Entry]) -> None:
        """Check that a saga is one, and, unless it may go on here, that it has ended."""
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

    def _transact(self, streams: list[list[Entry]], brought: Brought, mark: Mark) -> None:
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
            self._mark(connection, [*_marks(back, mark), *_marks(new, partial(mark, foreign=True))])
        brought.back += len(back)
        brought.new += len(new)
        brought.there += len(there)
        brought.events += sum(map(len, [*back, *new]))

    def _mark(self, connection: Connection, marks: list[e.SagaImported]) -> None:
        """Append how sagas came here, in the transaction that brings them."""
        before = self._log.entries_of([import_of(mark.saga_id) for mark in marks], connection)
        now, drafts = datetime.now(UTC), []
        for mark in marks:
            stream_id = import_of(mark.saga_id)
            there = before[stream_id]
            if there and there[0].category != IMPORT:
                raise ImportRefused(mark.saga_id, f"its import would be recorded in {stream_id}, which is taken")
            drafts.append(Draft(stream_id, IMPORT, len(there), (mark,), now))
        if drafts:
            rows = [row for draft in drafts for row in prepare(draft, self._log.codec).rows]
            self._log.chained(rows, connection=connection)
            connection.execute(APPEND, rows)
            self._views.apply(connection, [recorded for draft in drafts for recorded in draft.recorded()])

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


def _check_category(first: Entry) -> None:
    """Check that a stream is a saga or a plan: exports and archives hold no other, and others could be forged.

    A service answers from its records: one that came under the idempotency key of a later call would be its answer.
    """
    if first.category not in {PLAN, SAGA}:
        why = f"it is of category {plain(first.category)!r}, and only sagas and their plans are imported"
        raise ImportRefused(first.stream_id, why)


def _marks(streams: Iterable[list[Entry]], mark: Mark) -> Iterator[e.SagaImported]:
    """The import events of the sagas among these streams; a plan's id says its content, whoever brings it."""
    for last in (entries[-1] for entries in streams if entries[0].category == SAGA):
        yield mark(saga_id=last.stream_id, version=last.version, hash=last.hash)
