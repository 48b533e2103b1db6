"""The store as one object: everything that a worker remembers with."""

from __future__ import annotations

from dataclasses import dataclass, field

from saga_es.store import ports
from saga_es.store.log.codec import Keys
from saga_es.store.sagas import Sagas


@dataclass(frozen=True)
class Store:
    """The log, the sagas in it, the writer, the workers, and the notifications."""

    log: ports.Log
    sagas: Sagas
    writer: ports.Writer
    workers: ports.Workers
    notifications: ports.Notifications
    keys: Keys | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class SharedStore(Store):
    """A store on a database that callers use too: it reads and appends in their transactions."""

    log: ports.SharedLog
    writer: ports.SharedWriter
