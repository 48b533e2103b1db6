"""A writer that is watched: somebody is told of each batch that it wrote, at once, on the thread that wrote it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import event
from sqlalchemy.engine import Connection

from saga_es.store.database import Database
from saga_es.store.log.entries import Prepared
from saga_es.store.log.log import Log
from saga_es.store.ports import Receipt, Written
from saga_es.store.views.kinds import Views
from saga_es.store.writer import Writer


class WrittenBatch(msgspec.Struct, frozen=True):
    """What one write did: each draft with its receipt, and the seconds that it took."""

    drafts: Sequence[Prepared]
    receipts: Sequence[Receipt]
    seconds: float


Observe = Callable[[WrittenBatch], None]
"""Is told of a batch; it raises nothing."""


class ObservedWriter(Writer):
    """A writer that tells of each batch that it wrote.

    Args:
        observe: Whom it tells.
    """

    def __init__(self, database: Database, log: Log, views: Views, observe: Observe) -> None:
        super().__init__(database, log, views)
        self._observe = observe

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """See `Writer.write`."""
        began_at = time.perf_counter()
        receipts = self._write(batch)
        self._observe(WrittenBatch(batch, receipts, time.perf_counter() - began_at))
        return receipts

    def write_whole(self, batch: Sequence[Prepared]) -> bool:
        """See `Writer.write_whole`."""
        began_at = time.perf_counter()
        is_written = super().write_whole(batch)
        if is_written:
            self._observe(WrittenBatch(batch, [Written()] * len(batch), time.perf_counter() - began_at))
        return is_written

    def write_within(self, connection: Connection, prepared: Prepared) -> None:
        """See `Writer.write_within`; counted when the caller's transaction commits."""
        super().write_within(connection, prepared)
        written = WrittenBatch([prepared], [Written()], 0.0)
        event.listen(connection, "commit", lambda _connection: self._observe(written), once=True)
