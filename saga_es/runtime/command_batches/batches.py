"""Batches in the log: started, stopped, advanced and read. The expected version keeps two workers apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from saga_es.core.batches import BatchEvent, BatchStarted, BatchState, BatchStopped, folded
from saga_es.core.state import SagaStatus
from saga_es.errors import NotFound, PayloadUnencodable, SagaError
from saga_es.runtime.ids import new_id
from saga_es.store.database import Database
from saga_es.store.log.codec import BATCH
from saga_es.store.log.entries import Draft, is_possible
from saga_es.store.ports import Conflict, Refused, Written
from saga_es.store.store import Store
from saga_es.store.views.batches import saga_batches
from saga_es.store.views.saga_view import sagas

NEWEST = 20
AT_ONCE = 500


class BatchRefused(SagaError):
    """The batch was not started or not stopped; the message says why."""


class Progress(msgspec.Struct, frozen=True):
    """How far a batch is.

    Attributes:
        count: How many sagas it is for.
        moved_on: Those that got the command and have not failed since.
        failed_again: Those that got it and are FAILED now.
        left_alone: Those that could not follow the command any more when their turn came.
        to_go: Those whose turn has not come.
    """

    batch_id: str
    command: str
    status: str
    actor: str
    reason: str
    filter: dict[str, Any]
    about: dict[str, str]
    count: int
    moved_on: int
    failed_again: int
    left_alone: int
    to_go: int
    stopped_by: str | None
    stopped_because: str | None
    created_at: datetime
    updated_at: datetime


class Batches:
    """Starts, stops and reads batches.

    Args:
        database: Where the views are.
        store: Where the log is.
        now: The present time, aware.
    """

    def __init__(self, database: Database, store: Store, now: Callable[[], datetime]) -> None:
        self._database = database
        self._store = store
        self._now = now

    def start(self, started: BatchStarted) -> str:
        """Record a batch; a worker gives its commands. Its id.

        Raises:
            BatchRefused: There is no saga in it.
            PayloadTooLarge: It is larger than an event may be.
            PayloadUnencodable: Its words have no JSON form.
            StoreUnavailable: The database did not confirm it. It may have begun: list the batches.
        """
        if not started.saga_ids:
            raise BatchRefused("no saga that meets the filter can follow the command now")
        batch_id = new_id()
        self.append(batch_id, 0, started)
        return batch_id

    def stop(self, batch_id: str, actor: str, reason: str) -> None:
        """Stop a batch: the rest of its sagas is left as it is.

        Raises:
            NotFound: There is no such batch.
            BatchRefused: It is over.
            StoreUnavailable: The database did not answer.
        """
        while True:
            state = self.find(batch_id)
            if state.is_over:
                raise BatchRefused(f"the batch has {state.status} already")
            if self.append(batch_id, state.version, BatchStopped(actor, reason)):
                return

    def append(self, batch_id: str, version: int, event: BatchEvent) -> bool:
        """Append an event of a batch; whether nobody was faster.

        Raises:
            PayloadTooLarge: It is larger than an event may be.
            PayloadUnencodable: Its words have no JSON form.
            StoreUnavailable: The database did not confirm it.
        """
        writer = self._store.writer
        match writer.write([writer.prepare(Draft(batch_id, BATCH, version, (event,), self._now()))])[0]:
            case Written():
                return True
            case Refused(reason):
                raise PayloadUnencodable(f"the database does not accept this batch: {reason}")
            case Conflict():
                return False

    def find(self, batch_id: str) -> BatchState:
        """A batch.

        Raises:
            NotFound: There is none of this id.
            UnreadableEvent: An event cannot be decoded.
            StoreUnavailable: The database did not answer.
        """
        read = self._store.log.read(batch_id) if is_possible(batch_id) else []
        state = folded((recorded.recorded_at, recorded.event) for recorded in read if recorded.category == BATCH)
        if state is None:
            raise NotFound(batch_id)
        return state

    def progress(self, batch_id: str) -> Progress:
        """How far a batch is, and what became of its sagas.

        Raises:
            NotFound: There is none of this id.
            StoreUnavailable: The database did not answer.
        """
        state = self.find(batch_id)
        failed = self.failed_again(state)
        return Progress(
            batch_id=batch_id,
            command=state.started.command,
            status=state.status,
            actor=state.started.actor,
            reason=state.started.reason,
            filter=state.started.filter,
            about=state.started.about,
            count=len(state.started.saga_ids),
            moved_on=len(state.given) - failed,
            failed_again=failed,
            left_alone=len(state.left_alone),
            to_go=len(state.started.saga_ids) - state.upto,
            stopped_by=state.stopped.actor if state.stopped else None,
            stopped_because=state.stopped.reason if state.stopped else None,
            created_at=state.started_at,
            updated_at=state.updated_at,
        )

    def failed_again(self, state: BatchState) -> int:
        """How many of the sagas that got the command are FAILED and have changed since the batch began.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        if state.started.command in {"fail", "resolve"}:
            return 0
        given, failed = state.given, 0
        is_failed = (sagas.c.status == SagaStatus.FAILED.value) & (sagas.c.updated_at > state.started_at)
        with self._database.reading() as connection:
            for begin in range(0, len(given), AT_ONCE):
                among = sagas.c.saga_id.in_(given[begin : begin + AT_ONCE])
                failed += connection.scalar(sa.select(sa.func.count()).where(among, is_failed)) or 0
        return failed

    def newest(self, most: int = NEWEST) -> list[dict[str, Any]]:
        """The newest batches, as the view has them.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        newest = sa.select(saga_batches).order_by(saga_batches.c.created_at.desc(), saga_batches.c.batch_id.desc())
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(newest.limit(most)).mappings()]

    def running(self) -> list[str]:
        """The ids of the batches that are not over, the oldest first.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        is_running = saga_batches.c.status == "running"
        query = sa.select(saga_batches.c.batch_id).where(is_running).order_by(saga_batches.c.created_at).limit(AT_ONCE)
        with self._database.reading() as connection:
            return list(connection.scalars(query))
