"""Group commit: the drafts of a batch and the views they change, in one transaction.

Owns: which drafts are in the log. Refuses: to guess. A conflict stays with its stream. A commit whose answer was lost
is settled by reading: writing the same drafts again finds them in the log.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from saga_es.core import events as e
from saga_es.errors import RolledBack, StoreUnavailable, VersionConflict
from saga_es.logs import logger
from saga_es.store.database import Database
from saga_es.store.drivers.compiled import execute_many
from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.error_codes import reason
from saga_es.store.drivers.writes import Write
from saga_es.store.log.entries import Draft, Prepared, Recorded, prepare
from saga_es.store.log.heads import Heads
from saga_es.store.log.log import APPEND, Log
from saga_es.store.notifications import notify
from saga_es.store.ports import Conflict, Receipt, Refused, Written
from saga_es.store.views.inline import apply_where_possible, ends_transaction
from saga_es.store.views.kinds import Views

ATTEMPTS = 6
"""Tries of a transaction that the database rolls back in favour of others. Nothing of it was written, so it is safe."""

Rows = list[dict[str, Any]]
"""Rows of the log."""

_ENDS = frozenset({e.SagaCompleted, e.SagaCompensated, e.SagaFailed})


class Writer:
    """Writes batches of drafts.

    Attributes:
        when_behind: Called when a batch was written and a view lacks some of it; on the thread that wrote.
    """

    def __init__(self, database: Database, log: Log, views: Views) -> None:
        self._database = database
        self._log = log
        self._views = views
        self._heads = Heads()
        self._driver = database.driver
        self._is_careful = False
        self.when_behind: Callable[[], None] = _nothing

    def prepare(self, draft: Draft) -> Prepared:
        """The draft with its rows; encoded once, so that a draft that cannot be encoded fails before any batch.

        Raises:
            BadStreamId: The log does not accept this id.
            NothingToAppend: The draft has no events.
            PayloadTooLarge: An event is larger than the limit.
            PayloadUnencodable: An event has no JSON form.
        """
        return prepare(draft, self._log.codec)

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Append all drafts, each of another stream, in one transaction if possible; each draft whole or not at all.

        A view that refuses an event is behind from then on, and the draft is written.

        Raises:
            StoreUnavailable: Nobody knows which drafts were written. Writing the same batch again settles it.
        """
        return self._write(batch)

    def _write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        try:
            self._transact(batch)
        except StoreUnavailable as error:
            self._heads.clear()
            if self._is_careful or not self._may_be_a_views(error):
                raise
            return self._write_carefully(batch)
        except Exception as error:  # noqa: BLE001 (a conflict, a value no column takes, a view that fails: each is somebody's own)
            if isinstance(error, IntegrityError) and self._stands(batch):
                return [Written()] * len(batch)
            if len(batch) <= 1:
                return self._not_written(batch, error) if batch else []
            # One bad draft fails the whole transaction. The others must not pay for it, not even with a transaction
            # each.
            half = len(batch) // 2
            return [*self._write(batch[:half]), *self._write(batch[half:])]
        return [Written()] * len(batch)

    def _stands(self, batch: Sequence[Prepared]) -> bool:
        """Whether the whole batch is in the log: by our own commit, whose answer was lost."""
        with self._database.reading() as connection:
            is_ours = self._log.holds(connection, _rows(batch)[0])
        if is_ours:
            self._database.make_sure()
        return is_ours

    def _not_written(self, batch: Sequence[Prepared], error: Exception) -> list[Receipt]:
        """The receipt of a single draft whose transaction failed; a view may be to blame, so it is written without."""
        draft = batch[0].draft
        if isinstance(error, VersionConflict):  # the stream has not even reached the expected version
            return [Conflict()]
        if isinstance(error, IntegrityError):
            with self._database.reading() as connection:
                if self._has_moved_on(connection, draft):
                    return [Conflict()]
        if not self._is_careful:
            return self._write_carefully(batch)
        logger.error("a draft cannot be written", stream_id=draft.stream_id, category=draft.category, exc_info=error)
        return [Refused(reason(error) if isinstance(error, DBAPIError) else f"{type(error).__name__}: {error}")]

    def _has_moved_on(self, connection: Connection, draft: Draft) -> bool:
        return self._log.version(connection, draft.stream_id) > draft.expected_version

    def _have_moved_on(self, batch: Sequence[Prepared]) -> bool:
        with self._database.reading() as connection:
            return any(self._has_moved_on(connection, prepared.draft) for prepared in batch)

    def _may_be_a_views(self, error: StoreUnavailable) -> bool:
        cause, errors = error.__cause__, self._driver.errors
        is_answer = isinstance(cause, DBAPIError) and not cause.connection_invalidated
        return is_answer and errors.of_one_table(errors.code(getattr(cause, "orig", None)))

    def _write_carefully(self, batch: Sequence[Prepared]) -> list[Receipt]:
        self._is_careful = True  # until a batch finds that no view is behind
        return self._write(batch)

    def write_whole(self, batch: Sequence[Prepared]) -> bool:
        """Append all drafts, each of another stream, in one transaction; False: a stream had moved on, and none was.

        Raises:
            StoreUnavailable: Nobody knows whether they were written; the streams say so.
            sqlalchemy.exc.DBAPIError: The database will never take one of them.
        """
        try:
            self._transact(batch)
        except Exception as error:
            if isinstance(error, StoreUnavailable):
                self._heads.clear()
                if not self._may_be_a_views(error):
                    raise
            elif isinstance(error, VersionConflict):
                return False
            elif isinstance(error, IntegrityError) and self._stands(batch):
                return True
            if self._have_moved_on(batch):
                return False
            if self._is_careful:
                raise
            self._is_careful = True  # a view may be to blame: it is written without
            return self.write_whole(batch)
        return True

    def write_within(self, connection: Connection, prepared: Prepared) -> None:
        """Append a draft in the caller's transaction: it is appended if and only if that commits.

        Raises:
            sqlalchemy.exc.IntegrityError: The stream has passed the expected version; nothing was appended, and the
                transaction is unchanged.
            VersionConflict: The stream has not reached the expected version; the same holds.
        """
        driver_of(connection.dialect).begin_within(connection)
        self._log.chained(prepared.rows, self._heads, connection, prepared.covers)
        try:
            with connection.begin_nested():
                for statement, rows in self._writes([prepared], prepared.rows):
                    execute_many(connection, statement, rows)
        except Exception as error:
            if ends_transaction(connection, error) or self._has_moved_on(connection, prepared.draft):
                raise
            with connection.begin_nested():
                self._execute_carefully(connection, [prepared], nullcontext())
            self.when_behind()

    def _transact(self, batch: Sequence[Prepared]) -> None:
        for attempt in range(1, ATTEMPTS):
            try:
                self._transact_once(batch)
            except RolledBack as error:
                logger.info("a transaction was given up by the database, trying again", reason=str(error))
                self._heads.clear()
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 (so that two do not meet again)
            else:
                return
        self._transact_once(batch)

    def _transact_once(self, batch: Sequence[Prepared]) -> None:
        rows, covers = _rows(batch)
        reached = self._log.chained(rows, self._heads, covers=covers)
        if self._is_careful:
            self._transact_carefully(batch)
        else:
            self._database.transact(self._writes(batch, rows))
        # Learn only now that they are in the log: the heads of a transaction that did not commit must not be
        # remembered.
        self._heads.learn(reached, [its.draft.stream_id for its in batch if type(its.draft.events[-1]) in _ENDS])

    def _transact_carefully(self, batch: Sequence[Prepared]) -> None:
        with self._database.writing() as connection:
            behind = self._execute_carefully(connection, batch, self._driver.waiting_briefly(connection))
        self._is_careful = bool(behind)
        if behind:
            self.when_behind()

    def _execute_carefully(
        self, connection: Connection, batch: Sequence[Prepared], waiting: AbstractContextManager[None]
    ) -> frozenset[str]:
        """Append a batch, and apply it to the views that take it; the names of the views that are behind."""
        execute_many(connection, APPEND, _rows(batch)[0])
        recorded, notifications = _after(batch)
        behind = apply_where_possible(connection, self._views.inline, recorded, waiting)
        for statement, rows in notifications:
            execute_many(connection, statement, rows)
        return behind

    def _writes(self, batch: Sequence[Prepared], rows: Rows) -> list[Write]:
        """All writes of a batch of chained rows: log, views and notifications."""
        recorded, notifications = _after(batch)
        return [(APPEND, rows), *self._views.writes(recorded, self._driver), *notifications]


def _rows(batch: Sequence[Prepared]) -> tuple[Rows, list[bytes]]:
    """The rows of a batch, and what their hashes cover."""
    rows: Rows = []
    covers: list[bytes] = []
    for prepared in batch:
        rows += prepared.rows
        covers += prepared.covers
    return rows, covers


def _after(batch: Sequence[Prepared]) -> tuple[list[Recorded], list[Write]]:
    """What the views are told of a batch, and the writes that notify owners."""
    recorded: list[Recorded] = []
    reached: list[tuple[str, int]] = []
    for prepared in batch:
        draft = prepared.draft
        recorded += draft.recorded()
        if draft.notifies:
            reached.append((draft.stream_id, prepared.rows[-1]["version"]))
    return recorded, notify(reached) if reached else []


def _nothing() -> None:
    """Nobody is to be told."""
