"""A writer that is watched: each batch it wrote is kept for `Counting`, which reads it later, on another thread.

The loop pays for a clock and one `append` a batch, whatever the batch holds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import msgspec
from sqlalchemy import event
from sqlalchemy.engine import Connection

from saga_es.store.database import Database
from saga_es.store.log.log import Log
from saga_es.store.ports import Prepared, Receipt, Written
from saga_es.store.views.kinds import Views
from saga_es.store.writer import Writer


class WrittenBatch(msgspec.Struct, frozen=True):
    """What one write did: each draft with its receipt, and the seconds that it took."""

    drafts: Sequence[Prepared]
    receipts: Sequence[Receipt]
    seconds: float


Batches = deque[WrittenBatch]
"""The batches that nobody has counted yet. The writer appends, one thread takes."""


class ObservedWriter(Writer):
    """A writer that leaves each batch it wrote to be counted.

    Args:
        batches: Where it leaves them.
    """

    def __init__(self, database: Database, log: Log, views: Views, batches: Batches) -> None:
        super().__init__(database, log, views)
        self._batches = batches

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """See `Writer.write`."""
        began_at = time.perf_counter()
        receipts = super().write(batch)
        self._batches.append(WrittenBatch(batch, receipts, time.perf_counter() - began_at))
        return receipts

    def write_within(self, connection: Connection, prepared: Prepared) -> None:
        """See `Writer.write_within`; counted when the caller's transaction commits."""
        super().write_within(connection, prepared)
        written = WrittenBatch([prepared], [Written()], 0.0)
        event.listen(connection, "commit", lambda _connection: self._batches.append(written), once=True)
