"""A store in memory, with the promises of the real one and faults on order.

Versions decide, a conflict is each draft's own, a commit whose answer was lost is found again by reading. What
differs from the real store is that no bytes reach a disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from saga_es.core.state import ENDED, UNFINISHED
from saga_es.errors import StoreUnavailable
from saga_es.store.log.chain import Head, chain
from saga_es.store.log.codec import SAGA, Codec
from saga_es.store.log.log import Draft, Entry, Log, Recorded
from saga_es.store.notifications import Notification, Notifications
from saga_es.store.views.saga_view import saga_view
from saga_es.store.workers import Process, Workers
from saga_es.store.writer import Conflict, Prepared, Receipt, Writer, Written
from saga_es.testing.faults import Crash, Faults, StoreFault

COLUMNS = ("stream_id", "category", "version", "type", "data", "recorded_at", "schema", "hash")
"""Those of the log, after the position."""


class MemoryStore:
    """Everything that survives a crash.

    Attributes:
        streams: The log, by stream.
        sagas: The view of that name: the columns of each saga.
        living: The workers that said they live; those in `dead` only seem to.
        trespasses: What workers wrote to sagas that were not theirs; there should be none.
    """

    def __init__(self) -> None:
        self.streams: dict[str, list[Entry]] = defaultdict(list)
        self.sagas: dict[str, dict[str, Any]] = {}
        self.living: dict[str, None] = {}
        self.dead: set[str] = set()
        self.notifications: dict[tuple[str, int], None] = {}
        self.positions = 0
        self.trespasses: list[str] = []

    def append(self, draft: Draft, rows: Sequence[dict[str, Any]], worker_id: str | None = None) -> Receipt:
        """Append a draft, if its stream is where it expects; a draft that stands there already is written."""
        stream = self.streams[draft.stream_id]
        if len(stream) < draft.expected_version:
            return Conflict()
        before = stream[: draft.expected_version][-1:]
        chain(rows, {e.stream_id: Head(e.version, e.hash) for e in before})
        if len(stream) > draft.expected_version:
            there = stream[: draft.expected_version + len(rows)][-1]
            return Written() if there.hash == rows[-1]["hash"] else Conflict()
        for row in rows:
            self.positions += 1
            stream.append(Entry(self.positions, *(row[name] for name in COLUMNS)))
        if draft.category == SAGA:
            columns = self.sagas.setdefault(draft.stream_id, {})
            columns |= saga_view.fold(draft.recorded()) or {}
            if columns["owner"] != worker_id and not draft.notifies:
                types = ", ".join(row["type"] for row in rows)
                self.trespasses.append(f"{worker_id} wrote {types} to {draft.stream_id} of {columns['owner']}")
        if draft.notifies:
            self.notifications[draft.stream_id, rows[-1]["version"]] = None
        return Written()

    def text(self) -> str:
        """The whole log as text, in the order of positions: the same run gives the same bytes."""
        entries = sorted((e for stream in self.streams.values() for e in stream), key=lambda e: e.position)
        return "\n".join(f"{e.stream_id}@{e.version} {e.recorded_at.isoformat()} {e.type} {e.text}" for e in entries)


class MemoryLog(Log):
    """Reads the log in memory."""

    def __init__(self, store: MemoryStore, codec: Codec) -> None:
        self._store = store
        self._codec = codec
        self._decoded: dict[int, Recorded] = {}

    def decode(self, entry: Entry) -> Recorded:
        """The entry with its event decoded: from its text, but once only, for nothing in here ever changes a text."""
        if entry.position not in self._decoded:
            self._decoded[entry.position] = super().decode(entry)
        return self._decoded[entry.position]

    def archive_of(self, stream_id: str) -> None:
        """Nothing is archived in here."""

    def entries_of(self, stream_ids: Sequence[str], connection: Connection | None = None) -> dict[str, list[Entry]]:
        """The rows of several streams, each in order."""
        del connection
        return {stream_id: list(self._store.streams.get(stream_id, ())) for stream_id in stream_ids}


class MemoryWriter(Writer):
    """Writes to the log in memory, as well as the faults let it."""

    def __init__(self, store: MemoryStore, log: Log, faults: Faults, worker_id: str) -> None:
        self._store = store
        self._log = log
        self._faults = faults
        self._worker_id = worker_id

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Append all drafts, each all or none.

        Raises:
            StoreUnavailable: Nobody knows what took place.
            Crash: The worker died, before the commit or after it.
        """
        if self._faults.crashes():
            raise Crash
        fault = self._faults.commit()
        if fault is StoreFault.LOST:
            raise StoreUnavailable("the commit was lost")
        receipts = [self._store.append(draft, rows, self._worker_id) for draft, rows in batch]
        if self._faults.crashes():
            raise Crash
        if fault is StoreFault.UNHEARD:
            raise StoreUnavailable("the answer to the commit was lost")
        return receipts


class MemoryWorkers(Workers):
    """The workers of a simulated run."""

    def __init__(self, store: MemoryStore, lease_s: float = 10.0) -> None:
        self._store = store
        self.lease_s = lease_s

    def beat(self, worker_id: str, process: Process) -> bool:
        """Say that this worker lives."""
        del process
        is_new = worker_id not in self._store.living
        self._store.living[worker_id] = None
        return is_new

    def leave(self, worker_id: str) -> None:
        """Say goodbye."""
        self._store.living.pop(worker_id, None)

    def heartbeats(self) -> dict[str, float]:
        """Those that have a row."""
        return dict.fromkeys(self._store.living, 0.0)

    def bury(self) -> list[str]:
        """Remove those that are gone."""
        gone = [worker_id for worker_id in self._store.living if worker_id in self._store.dead]
        for worker_id in gone:
            del self._store.living[worker_id]
        return gone

    def orphans(self, limit: int, names: Collection[str], apart_from: Collection[str] = ()) -> dict[str, str | None]:
        """Unfinished sagas of these definitions without a living worker, and their last owners."""
        found = {
            saga_id: row["owner"]
            for saga_id, row in self._store.sagas.items()
            if saga_id not in apart_from and row["name"] in names and self._is_orphan(row)
        }
        return dict(list(found.items())[:limit])

    def moved_at(self, saga_ids: Sequence[str]) -> dict[str, datetime]:
        """When each of these sagas moved last."""
        return {saga_id: self._store.sagas[saga_id]["updated_at"] for saga_id in saga_ids}

    def orphans_of_others(self, names: Collection[str]) -> dict[str, int]:
        """How many there are of other definitions."""
        counts: dict[str, int] = defaultdict(int)
        for row in self._store.sagas.values():
            if row["name"] not in names and self._is_orphan(row):
                counts[row["name"]] += 1
        return dict(counts)

    def _is_orphan(self, row: dict[str, Any]) -> bool:
        return row["status"] in UNFINISHED and row["owner"] not in self._store.living


class MemoryNotifications(Notifications):
    """The notifications of a simulated run."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def is_empty(self) -> bool:
        """Whether there is none at all."""
        return not self._store.notifications

    def pending(self, worker_id: str) -> list[Notification]:
        """Those that this worker answers."""
        found = []
        for saga_id, version in self._store.notifications:
            row = self._store.sagas[saga_id]
            is_over = row["status"] in ENDED
            if is_over or row["owner"] == worker_id:
                found.append(Notification(saga_id, version, row["owner"], is_over))
        return found

    def unclaimed(self, names: Collection[str]) -> bool:
        """Whether one is pending for a saga that nobody owns."""
        rows = (self._store.sagas[saga_id] for saga_id, _ in self._store.notifications)
        return any(row["owner"] is None and row["status"] not in ENDED and row["name"] in names for row in rows)

    def acknowledge(self, notifications: Sequence[Notification]) -> None:
        """Take notifications away that were answered."""
        for notification in notifications:
            self._store.notifications.pop((notification.saga_id, notification.version), None)
