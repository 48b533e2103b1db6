"""Group commit: the drafts of a batch and the views they change, in one transaction.

Owns: which drafts are in the log. Refuses: to guess. A conflict stays with its stream. A commit whose answer was lost
is settled by reading: writing the same drafts again finds them in the log.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from saga_es.core import events as e
from saga_es.errors import RolledBack, StoreUnavailable, VersionConflict
from saga_es.store.database import Database
from saga_es.store.drivers.compiled import execute_many
from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.writes import Write
from saga_es.store.log.entries import Draft, rows_of
from saga_es.store.log.heads import Heads
from saga_es.store.log.log import APPEND, Log
from saga_es.store.notifications import notify
from saga_es.store.ports import Conflict, Prepared, Receipt, Refused, Written
from saga_es.store.views.kinds import Views

logger = structlog.get_logger("saga_es")

ATTEMPTS = 6
"""Tries of a transaction that the database rolls back in favour of others. Nothing of it was written, so it is safe."""

_ENDS = (e.SagaCompleted, e.SagaCompensated, e.SagaFailed)


class Writer:
    """Writes batches of drafts."""

    def __init__(self, database: Database, log: Log, views: Views) -> None:
        self._database = database
        self._log = log
        self._views = views
        self._heads = Heads()
        self._driver = database.driver

    def prepare(self, draft: Draft) -> Prepared:
        """The draft with its rows; encoded once, so that a draft that cannot be encoded fails before any batch.

        Raises:
            BadStreamId: The log does not accept this id.
            NothingToAppend: The draft has no events.
            PayloadTooLarge: An event is larger than the limit.
            PayloadUnencodable: An event has no JSON form.
        """
        return draft, rows_of(draft, self._log.codec)

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Append all drafts, each of another stream, in one transaction if possible; each draft whole or not at all.

        Raises:
            StoreUnavailable: Nobody knows which drafts were written. Writing the same batch again settles it.
        """
        try:
            self._transact(batch)
        except StoreUnavailable:
            self._heads.clear()
            raise
        except Exception as error:  # noqa: BLE001 (a conflict, a value no column takes, a view that fails: each is somebody's own)
            if isinstance(error, IntegrityError) and self._stands(batch):
                return [Written()] * len(batch)
            if len(batch) <= 1:
                return [self._not_written(draft, error) for draft, _ in batch]
            # One bad draft fails the whole transaction. The others must not pay for it, not even with a transaction
            # each.
            half = len(batch) // 2
            return [*self.write(batch[:half]), *self.write(batch[half:])]
        return [Written()] * len(batch)

    def _stands(self, batch: Sequence[Prepared]) -> bool:
        """Whether the whole batch is in the log: by our own commit, whose answer was lost."""
        with self._database.reading() as connection:
            is_ours = self._log.holds(connection, [row for _, rows in batch for row in rows])
        if is_ours:
            self._database.make_sure()
        return is_ours

    def _not_written(self, draft: Draft, error: Exception) -> Receipt:
        match error:
            case IntegrityError():
                with self._database.reading() as connection:
                    moved_on = self._log.version(connection, draft.stream_id) > draft.expected_version
                return Conflict() if moved_on else Refused(str(error.orig))
            case VersionConflict():  # the stream has not even reached the expected version
                return Conflict()
            case _:
                logger.error(
                    "a draft cannot be written", stream_id=draft.stream_id, category=draft.category, exc_info=error
                )
                return Refused(f"{type(error).__name__}: {error}")

    def write_within(self, connection: Connection, prepared: Prepared) -> None:
        """Append a draft in the caller's transaction: it is appended if and only if that commits.

        Raises:
            sqlalchemy.exc.IntegrityError: The stream has passed the expected version; nothing was appended, and the
                transaction is unchanged.
            VersionConflict: The stream has not reached the expected version; the same holds.
        """
        driver_of(connection.dialect).begin_within(connection)
        with connection.begin_nested():
            self._log.chained(prepared[1], self._heads, connection)
            for statement, rows in self._writes([prepared]):
                execute_many(connection, statement, rows)

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
        reached = self._log.chained([row for _, rows in batch for row in rows], self._heads)
        self._database.transact(self._writes(batch))
        # Learn only now that they are in the log: the heads of a transaction that did not commit must not be
        # remembered.
        self._heads.learn(reached, [draft.stream_id for draft, _ in batch if isinstance(draft.events[-1], _ENDS)])

    def _writes(self, batch: Sequence[Prepared]) -> list[Write]:
        """All writes of a batch of chained rows: log, views and notifications."""
        return [
            (APPEND, [row for _, rows in batch for row in rows]),
            *self._views.writes([recorded for draft, _ in batch for recorded in draft.recorded()], self._driver),
            *notify([(draft.stream_id, rows[-1]["version"]) for draft, rows in batch if draft.notifies]),
        ]
