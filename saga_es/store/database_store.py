"""The store on a database: the implementations of the ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from saga_es.store.database import Database
from saga_es.store.log.codec import Codec
from saga_es.store.log.log import Log
from saga_es.store.notifications import Notifications
from saga_es.store.sagas import SagaLimits, Sagas
from saga_es.store.store import SharedStore
from saga_es.store.views.kinds import Views
from saga_es.store.workers import Workers
from saga_es.store.writer import Writer


@dataclass(frozen=True)
class DatabaseStore(SharedStore):
    """The store on SQLite, PostgreSQL, MySQL or MariaDB."""

    log: Log
    writer: Writer
    workers: Workers
    notifications: Notifications

    @classmethod
    def on(
        cls,
        database: Database,
        codec: Codec,
        views: Views,
        lease_s: float = 10.0,
        limits: SagaLimits | None = None,
    ) -> Self:
        """The store on a database.

        Args:
            database: The database that holds everything.
            codec: Encodes and decodes the events in the log.
            views: The views; the synchronous ones are kept in the transaction that appends.
            lease_s: Seconds without a heartbeat after which a worker on another host counts as gone.
            limits: How large a saga may be for commands to be added to it.
        """
        log = Log(database, codec)
        sagas, workers = Sagas(log, limits), Workers(database, lease_s)
        return cls(log, sagas, Writer(database, log, views), workers, Notifications(database), keys=codec.keys)
