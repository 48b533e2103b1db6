"""The store as one object: all that a worker remembers with."""

from __future__ import annotations

from dataclasses import dataclass

from saga_es.store import ports
from saga_es.store.sagas import Sagas


@dataclass(frozen=True)
class Store:
    """What remembers: the log, the sagas in it, who writes to it, who is at work, and who is to be notified."""

    log: ports.Log
    sagas: Sagas
    writer: ports.Writer
    workers: ports.Workers
    notifications: ports.Notifications


@dataclass(frozen=True)
class SharedStore(Store):
    """A store on a database that callers use too: it reads and appends in their transactions."""

    log: ports.SharedLog
    writer: ports.SharedWriter
