"""What only the first event of a saga holds, and each of its events is told with: its definition, and its trace."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec
import sqlalchemy as sa

from saga_es.core.access import Starter
from saga_es.core.trace import Trace
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry
from saga_es.store.tables import saga_events

REMEMBERED = 100_000
"""Sagas whose origin is remembered; of another, its first event is read."""


class Origin(msgspec.Struct, frozen=True):
    """Whence a saga comes, in the words of its first event."""

    saga: str | None = None
    trace: Trace | None = None
    by: Starter | None = None

    @property
    def tenant(self) -> str | None:
        """Whose saga it is; empty: no tenant's; None: it is not known."""
        if self.saga is None:
            return None
        return "" if self.by is None else self.by.tenant


UNKNOWN = Origin()


class Origins:
    """Finds the origins of sagas. Used by one thread.

    Args:
        database: Where the log is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Origin] = {}

    def of(self, entries: Iterable[Entry]) -> dict[str, Origin]:
        """The origin of each saga that these events belong to, by its id.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        ids = {entry.stream_id for entry in entries if entry.category == SAGA}
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        unknown = ids - self._known.keys()
        if unknown:
            self._known |= dict.fromkeys(unknown, UNKNOWN) | self._read(unknown)
        return {saga_id: self._known[saga_id] for saga_id in ids}

    def _read(self, ids: Collection[str]) -> dict[str, Origin]:
        columns = saga_events.c
        query = sa.select(columns.stream_id, columns.data).where(
            columns.stream_id.in_(sorted(ids)), columns.version == 1
        )
        with self._database.reading() as connection:
            return {row.stream_id: msgspec.json.decode(row.data, type=Origin) for row in connection.execute(query)}
