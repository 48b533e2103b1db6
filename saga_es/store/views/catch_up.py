"""Catching up an asynchronous view: its events and its checkpoint are written in transactions of its own.

Owns: that each event is applied once, in the order of positions, whatever other processes do. Refuses: to pass an event
at which the view fails. The failure stops this view only, is recorded beside the checkpoint, and is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from enum import Enum

from sqlalchemy.exc import DBAPIError

from saga_es.errors import ProjectionFailed, StoreUnavailable, UnreadableEvent
from saga_es.store.database import Database
from saga_es.store.drivers.compiled import execute_many
from saga_es.store.drivers.error_codes import reason
from saga_es.store.host_time import host_now
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import Log
from saga_es.store.log.tail import Tail
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views import checkpoints
from saga_es.store.views.checkpoints import Checkpoint, Failed
from saga_es.store.views.kinds import Projection
from saga_es.store.views.rebuild import settle_swaps
from saga_es.store.views.recalling import recall

CHUNK = 1000
"""Events in one transaction."""

SWAP_TAKES = timedelta(seconds=5)
"""Far more than it takes to swap in a new table: a process that has not finished by then is gone, or about to."""


class Step(Enum):
    """The result of one step."""

    ADVANCED = "events were applied"
    AT_THE_END = "there was nothing to apply"
    OVERTAKEN = "another process has advanced the view meanwhile"


class CatchUp:
    """Keeps one asynchronous view up to date, beside any number of processes that do the same.

    Args:
        database: The database of the view and the log.
        log: The log.
        view: The view.
    """

    def __init__(self, database: Database, log: Log, view: Projection) -> None:
        self.view = view
        self._database = database
        self._log = log.without_keys()
        self._tail = Tail(database, log)

    def step(self, limit: int = CHUNK) -> Step:
        """Apply the next events.

        Args:
            limit: Events at most.

        Raises:
            ProjectionFailed: The view fails at an event; all events before it are applied.
            StoreUnavailable: The database did not answer.
        """
        with self._database.reading() as connection:
            checkpoint = checkpoints.read(connection).get(self.view.name)
        if checkpoint is None:  # another version of the code is in charge, in which the view is synchronous
            return Step.AT_THE_END
        if checkpoint.pending.swap is not None:
            return self._wait_for_swap(checkpoint)
        stretch = self._tail.read(checkpoint.position, limit)
        if not stretch.entries:
            return Step.AT_THE_END
        try:
            return self._take_up(checkpoint, stretch.entries, stretch.reached)
        except StoreUnavailable:
            raise
        except Exception as error:
            if isinstance(error, DBAPIError) and not self._database.driver.errors.is_about_values(error):
                raise
            if len(stretch.entries) > 1:  # halve, down to the event at fault
                return self.step(len(stretch.entries) // 2)
            raise self._failed(checkpoint, stretch.entries[0], error) from error

    def to_the_end(self) -> None:
        """Take up all that there is now, or all before an event at which the view fails.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with suppress(ProjectionFailed):
            while self.step() is not Step.AT_THE_END:
                pass

    def _take_up(self, checkpoint: Checkpoint, entries: Sequence[Entry], reached: int) -> Step:
        concerned = [self._log.decode(entry) for entry in entries if entry.category in self.view.categories]
        recall(self.view, concerned, self._log)
        writes = self.view.writes(concerned, self._database.driver)
        with self._database.writing() as connection:
            if not checkpoints.advance(connection, checkpoint, reached):
                return Step.OVERTAKEN
            for statement, rows in writes:
                execute_many(connection, statement, rows)
        return Step.ADVANCED

    def _failed(self, checkpoint: Checkpoint, entry: Entry, error: Exception) -> ProjectionFailed:
        match error:
            case ProjectionFailed(why=why):
                pass
            case UnreadableEvent():
                why = str(error)
            case _:
                why = reason(error)
        failed = ProjectionFailed(self.view.name, entry.stream_id, entry.version, entry.type, why, entry.position)
        with self._database.writing() as connection:
            checkpoints.fail(connection, checkpoint, Failed(entry.position, entry.type, entry.stream_id, why))
        return failed

    def _wait_for_swap(self, checkpoint: Checkpoint) -> Step:
        if host_now() - checkpoint.updated_at > SWAP_TAKES:
            with schema_lock(self._database) as connection, connection.begin():
                settle_swaps(connection)
        return Step.AT_THE_END
