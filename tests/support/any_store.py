"""A store behind its ports, on each database and in the memory of the simulator; and how its world is moved by hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from saga_es.errors import StoreUnavailable
from saga_es.store import ports
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.drivers.writes import Write
from saga_es.store.log.codec import Codec
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Receipt
from saga_es.store.process import Process
from saga_es.store.sagas import Sagas
from saga_es.store.store import Store
from saga_es.store.tables import saga_workers
from saga_es.store.workers import Workers, database_now
from saga_es.testing import Calm, StoreFault
from saga_es.testing.clock import VirtualClock
from saga_es.testing.memory import MemoryLog, MemoryNotifications, MemoryStore, MemoryWorkers, MemoryWriter
from tests.conftest import NOTE_EVENTS, migrated
from tests.conftest import Store as RealStore
from tests.support.databases import KINDS, fresh_database

MEMORY = "memory"
ALL_KINDS = (*KINDS, MEMORY)


@dataclass(frozen=True)
class AnyStore(Store, ABC):
    """The ports of a store. Tests know nothing else of it."""

    def write(self, *drafts: Draft) -> list[Receipt]:
        """Write drafts as one batch; their receipts."""
        return self.writer.write([self.writer.prepare(draft) for draft in drafts])

    def texts(self, *stream_ids: str) -> dict[str, list[str]]:
        """What stands in those of the streams that exist."""
        found = self.log.entries_of(stream_ids)
        return {stream_id: [entry.text for entry in entries] for stream_id, entries in found.items() if entries}

    @abstractmethod
    def lose_answers(self, times: int) -> None:
        """Commit, and lose the answer, so many times."""

    @abstractmethod
    def workers_with(self, lease_s: float) -> ports.Workers:
        """The workers under another lease."""

    @abstractmethod
    def age(self, worker_id: str, seconds: float) -> None:
        """Put the worker's last heartbeat so many seconds back."""

    @abstractmethod
    def beat_and_die(self, worker_id: str) -> None:
        """Beat for a worker whose process is gone a moment later."""


# ── On a database ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class OnDatabase(AnyStore):
    """The store that applications use."""

    database: Database

    @classmethod
    def of(cls, real: RealStore) -> OnDatabase:
        """The ports of a store that tests know whole."""
        return cls(real.log, real.sagas, real.writer, real.workers, real.notifications, real.database)

    def lose_answers(self, times: int) -> None:
        """On the way from the database."""
        commit, left = self.database.transact, [None] * times

        def transact(writes: Sequence[Write]) -> None:
            commit(writes)
            if left:
                left.pop()
                raise StoreUnavailable("the answer to the commit was lost")

        self.database.transact = transact  # type: ignore[method-assign]  # of this one alone

    def workers_with(self, lease_s: float) -> ports.Workers:
        """In the same table."""
        return Workers(self.database, lease_s)

    def age(self, worker_id: str, seconds: float) -> None:
        """In the table."""
        row = saga_workers.c.worker_id == worker_id
        with self.database.writing() as connection:
            connection.execute(sa.update(saga_workers).where(row).values(heartbeat_at=database_now() - seconds))

    def beat_and_die(self, worker_id: str) -> None:
        """A process of this host that had our number before us."""
        this = Process.this()
        self.workers.beat(worker_id, Process(this.host, this.pid, "1"))


# ── In memory ────────────────────────────────────────────────────────────────────────────────────────────


class Losing(Calm):
    """Loses the answers to so many commits."""

    losses = 0

    def commit(self) -> StoreFault:
        """It takes place in any case."""
        if self.losses > 0:
            self.losses -= 1
            return StoreFault.UNHEARD
        return StoreFault.NONE


@dataclass(frozen=True)
class InMemory(AnyStore):
    """The store of the simulator."""

    memory: MemoryStore
    faults: Losing

    @classmethod
    def empty(cls) -> InMemory:
        """A store with nothing in it."""
        memory, codec, faults = MemoryStore(VirtualClock()), Codec(NOTE_EVENTS), Losing()
        log = MemoryLog(memory, codec)
        writer = MemoryWriter(memory, codec, faults, "w")
        return cls(log, Sagas(log), writer, MemoryWorkers(memory), MemoryNotifications(memory), memory, faults)

    def lose_answers(self, times: int) -> None:
        """As a fault of the run."""
        self.faults.losses = times

    def workers_with(self, lease_s: float) -> ports.Workers:
        """Of the same run."""
        return MemoryWorkers(self.memory, lease_s)

    def age(self, worker_id: str, seconds: float) -> None:
        """In the run's table."""
        self.memory.living[worker_id] -= seconds

    def beat_and_die(self, worker_id: str) -> None:
        """As a crash of the run leaves it."""
        self.workers.beat(worker_id, Process.this())
        self.memory.dead.add(worker_id)


@contextmanager
def a_store(kind: str, folder: Path) -> Iterator[AnyStore]:
    """An empty store of one of `ALL_KINDS`."""
    if kind == MEMORY:
        yield InMemory.empty()
        return
    with fresh_database(kind, folder, migrated) as url:
        database = Database(url)
        real = RealStore.at(database)
        migrate.upgrade(database, real.log, real.views)
        yield OnDatabase.of(real)
        database.close()
