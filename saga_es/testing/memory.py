"""A store in memory that keeps the promises of the real one, and fails on demand.

It passes the contract suite of the ports. What differs from a database is that no bytes reach a disk.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from saga_es.core.state import ENDED, UNFINISHED, SagaStatus
from saga_es.errors import ProjectionFailed, StoreUnavailable
from saga_es.runtime.waiting.clock import Clock
from saga_es.store.log.chain import Head, chain
from saga_es.store.log.codec import SAGA, Codec
from saga_es.store.log.entries import Draft, Entry, Prepared, Recorded, prepare
from saga_es.store.log.reader import Reader
from saga_es.store.ports import (
    READ_AT_ONCE,
    UNCLAIMED_AT_ONCE,
    Conflict,
    Notification,
    Orphan,
    Receipt,
    Written,
)
from saga_es.store.process import Process
from saga_es.store.views.saga_view import is_due, saga_view
from saga_es.testing.faults import Crash, Faults, StoreFault

_BLANK: dict[str, Any] = dict.fromkeys(saga_view.table.columns.keys())
_NEEDED = [column.name for column in saga_view.table.columns if not (column.nullable or column.primary_key)]


class MemoryStore:
    """Everything that survives a crash.

    Args:
        clock: The clock that all workers share.

    Attributes:
        streams: The log, by stream.
        sagas: The view `sagas`: the columns of each saga.
        living: The workers with a row, and when they last beat, in seconds since 1970.
        codes: The code that workers said they have.
        dead: The workers whose process is gone, or counts as gone; they may still have a row.
        trespasses: What workers wrote to sagas that others own; each is a fault.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.streams: dict[str, list[Entry]] = defaultdict(list)
        self.sagas: dict[str, dict[str, Any]] = {}
        self.living: dict[str, float] = {}
        self.dead: set[str] = set()
        self.codes: dict[str, str | None] = {}
        self.notifications: dict[tuple[str, int], None] = {}
        self.positions = 0
        self.trespasses: list[str] = []

    def append(self, draft: Draft, rows: Sequence[dict[str, Any]], worker_id: str | None = None) -> Receipt:
        """Append a draft if its stream is at the expected version; a draft that is there already counts as written."""
        stream, expected = self.streams[draft.stream_id], draft.expected_version
        if len(stream) < expected:
            return Conflict()
        chain(rows, {e.stream_id: Head(e.version, e.hash) for e in stream[max(0, expected - 1) : expected]})
        if len(stream) > expected:
            there = stream[: expected + len(rows)][-1]
            return Written() if there.hash == rows[-1]["hash"] else Conflict()
        if draft.category == SAGA:
            self._view(draft)
            self._watch(draft, worker_id)
        self._extend(stream, rows)
        if draft.notifies:
            self.notifications[draft.stream_id, rows[-1]["version"]] = None
        return Written()

    def beat(self, worker_id: str) -> None:
        """Record that a worker lives now."""
        self.living[worker_id] = self.clock.now().timestamp()

    def text(self) -> str:
        """The whole log as text, in the order of positions: the same run gives the same bytes."""
        entries = sorted((e for stream in self.streams.values() for e in stream), key=lambda e: e.position)
        return "\n".join(f"{e.stream_id}@{e.version} {e.recorded_at.isoformat()} {e.type} {e.text}" for e in entries)

    def _view(self, draft: Draft) -> None:
        """Update the saga's row. A view that fails, or a row that a database would refuse, leaves it as it was."""
        try:
            change = saga_view.fold(draft.recorded()) or {}
        except ProjectionFailed:
            return
        if draft.expected_version == 0:
            row = {**_BLANK, **change, saga_view.key.name: draft.stream_id}
            if all(row[name] is not None for name in _NEEDED):
                self.sagas[draft.stream_id] = row
        elif draft.stream_id in self.sagas:
            self.sagas[draft.stream_id] |= change

    def _watch(self, draft: Draft, worker_id: str | None) -> None:
        """Record a worker that writes to a saga that another worker owns."""
        row = self.sagas.get(draft.stream_id)
        if row is not None and row["owner"] != worker_id and not draft.notifies:
            types = ", ".join(type(event).__name__ for event in draft.events)
            self.trespasses.append(f"{worker_id} wrote {types} to {draft.stream_id} of {row['owner']}")

    def _extend(self, stream: list[Entry], rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            self.positions += 1
            stream.append(_entry(self.positions, row))


def _entry(position: int, row: dict[str, Any]) -> Entry:
    return Entry(
        position,
        row["stream_id"],
        row["category"],
        row["version"],
        row["type"],
        row["data"],
        row["recorded_at"].astimezone(UTC),
        row["schema"],
        row["hash"],
    )


class MemoryLog(Reader):
    """Reads the log in memory."""

    def __init__(self, store: MemoryStore, codec: Codec) -> None:
        super().__init__(codec)
        self._store = store
        self._decoded: dict[int, Recorded] = {}

    def decode(self, entry: Entry) -> Recorded:
        """The entry with its event decoded: once only, for its text never changes."""
        if entry.position not in self._decoded:
            self._decoded[entry.position] = super().decode(entry)
        return self._decoded[entry.position]

    def archive_of(self, stream_id: str) -> str | None:
        """None: nothing is archived in memory."""
        del stream_id
        return None

    def entries_of(self, stream_ids: Sequence[str]) -> dict[str, list[Entry]]:
        """The rows of several streams, each in order."""
        return {stream_id: list(self._store.streams.get(stream_id, ())) for stream_id in stream_ids}

    def versions_of(self, stream_ids: Sequence[str]) -> dict[str, int]:
        """The number of events of each of these streams that exists."""
        streams = self._store.streams
        return {stream_id: len(streams[stream_id]) for stream_id in stream_ids if streams.get(stream_id)}


class MemoryWriter:
    """Writes to the log in memory; the faults may prevent it.

    Args:
        codec: Encodes the events.
        worker_id: The worker that writes.
    """

    def __init__(self, store: MemoryStore, codec: Codec, faults: Faults, worker_id: str | None) -> None:
        self._store = store
        self._codec = codec
        self._faults = faults
        self._worker_id = worker_id

    def prepare(self, draft: Draft) -> Prepared:
        """The draft with its rows."""
        return prepare(draft, self._codec)

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Append all drafts, each whole or not at all.

        Raises:
            StoreUnavailable: Nobody knows which drafts were written.
            Crash: The worker died, before the commit or after it.
        """
        if self._faults.crashes():
            raise Crash
        fault = self._faults.commit()
        if fault is StoreFault.LOST:
            raise StoreUnavailable("the commit was lost")
        receipts = [self._store.append(each.draft, each.rows, self._worker_id) for each in batch]
        if self._faults.crashes():
            raise Crash
        if fault is StoreFault.UNHEARD:
            raise StoreUnavailable("the answer to the commit was lost")
        return receipts


class MemoryWorkers:
    """The workers of a simulated run.

    Args:
        lease_s: Seconds without a heartbeat after which a worker counts as gone.
    """

    def __init__(self, store: MemoryStore, lease_s: float = 10.0) -> None:
        self._store = store
        self.lease_s = lease_s

    def beat(self, worker_id: str, process: Process, code: str | None = None) -> bool:
        """Record that this worker lives; True when it had no row."""
        del process
        is_new = worker_id not in self._store.living
        self._store.beat(worker_id)
        self._store.codes[worker_id] = code
        self._store.dead.discard(worker_id)
        return is_new

    def leave(self, worker_id: str) -> None:
        """Remove this worker's row."""
        self._store.living.pop(worker_id, None)

    def heartbeats(self) -> dict[str, float]:
        """The last heartbeat of each worker that has a row."""
        return dict(self._store.living)

    def codes(self) -> dict[str, str | None]:
        """The code of each living worker."""
        gone = self._gone()
        return {
            worker_id: self._store.codes.get(worker_id) for worker_id in self._store.living if worker_id not in gone
        }

    def bury(self) -> list[str]:
        """Remove the workers that are gone."""
        gone = self._gone()
        for worker_id in gone:
            del self._store.living[worker_id]
        return gone

    def _gone(self) -> list[str]:
        living, dead = self._store.living, self._store.dead
        expired = self._store.clock.now().timestamp() - self.lease_s
        return [worker_id for worker_id, beaten in living.items() if worker_id in dead or beaten < expired]

    def orphans(
        self,
        limit: int,
        names: Collection[str],
        apart_from: Collection[str] = (),
        due_at: datetime | None = None,
        plans_apart: Collection[str] = (),
    ) -> dict[str, str | None]:
        """Unfinished sagas of these definitions without a living worker, with their last owners; oldest first."""
        found = self._found(names, plans_apart)
        there = {saga_id: row for saga_id, row in found.items() if saga_id not in apart_from}
        return _owners({id_: row for id_, row in there.items() if due_at is None or is_due(row, due_at)}, limit)

    def waiting_orphans(
        self,
        limit: int,
        names: Collection[str],
        plan_ids: Collection[str],
        not_due_at: datetime,
        plans_apart: Collection[str] = (),
    ) -> dict[str, str | None]:
        """The orphans that only wait; before them those of other plans, which may have a call in flight."""
        found = {id_: row for id_, row in self._found(names, plans_apart).items() if not is_due(row, not_due_at)}
        return _owners(dict(sorted(found.items(), key=lambda orphan: orphan[1]["plan_id"] in plan_ids)), limit)

    def expired_orphans(self, limit: int, names: Collection[str], now: datetime) -> dict[str, str | None]:
        """The orphans that have not begun and whose deadline has passed, with their last owners; oldest first."""
        found = self._found(names).items()
        unbegun = {id_: row for id_, row in found if row["status"] == SagaStatus.PENDING and not row["paused"]}
        return _owners(
            {id_: row for id_, row in unbegun.items() if row["deadline_at"] and row["deadline_at"] <= now}, limit
        )

    def orphans_among(
        self, saga_ids: Collection[str], names: Collection[str], to_begin: Collection[str]
    ) -> dict[str, str | None]:
        """Which of these sagas are orphans of these definitions; PENDING ones of those `to_begin` alone."""
        there = {id_: row for id_, row in self._found(names).items() if id_ in saga_ids}
        may_begin = {
            id_: row for id_, row in there.items() if row["status"] != SagaStatus.PENDING or row["name"] in to_begin
        }
        return _owners(may_begin, len(saga_ids))

    def orphans_of_plans(
        self, plans: Collection[str], names: Collection[str], limit: int, after: Orphan | None = None
    ) -> list[Orphan]:
        """Unfinished sagas of these plans without a living worker; oldest first, after the given one."""
        rows = {id_: row for id_, row in self._found(names).items() if row["plan_id"] in plans}
        found = [Orphan(id_, row["owner"], row["created_at"], row["updated_at"]) for id_, row in rows.items()]
        return [orphan for orphan in found if after is None or _place(orphan) > _place(after)][:limit]

    def orphans_by_plan(self) -> dict[tuple[str, str], int]:
        """How many unfinished sagas have no living worker, by definition and plan."""
        orphans = [row for row in self._store.sagas.values() if self._is_orphan(row)]
        return dict(Counter((row["name"], row["plan_id"]) for row in orphans))

    def _found(self, names: Collection[str], plans_apart: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """The rows of all orphans, oldest first."""
        known = {id_: row for id_, row in self._store.sagas.items() if row["plan_id"] not in plans_apart}
        rows = {id_: row for id_, row in known.items() if row["name"] in names and self._is_orphan(row)}
        return dict(sorted(rows.items(), key=lambda orphan: (orphan[1]["created_at"], orphan[0])))

    def moved_at(self, saga_ids: Sequence[str]) -> dict[str, datetime]:
        """When each of these sagas last changed."""
        sagas = self._store.sagas
        return {saga_id: sagas[saga_id]["updated_at"] for saga_id in saga_ids if saga_id in sagas}

    def orphans_of_others(self, names: Collection[str]) -> dict[str, int]:
        """How many unfinished sagas of other definitions there are, by name."""
        counts: dict[str, int] = defaultdict(int)
        for row in self._store.sagas.values():
            if row["name"] not in names and self._is_orphan(row):
                counts[row["name"]] += 1
        return dict(counts)

    def _is_orphan(self, row: dict[str, Any]) -> bool:
        return row["status"] in UNFINISHED and row["owner"] not in self._store.living


def _owners(rows: dict[str, dict[str, Any]], limit: int) -> dict[str, str | None]:
    return {saga_id: row["owner"] for saga_id, row in islice(rows.items(), limit)}


def _place(orphan: Orphan) -> tuple[datetime, str]:
    return orphan.created_at, orphan.saga_id


class MemoryNotifications:
    """The notifications of a simulated run."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def is_empty(self) -> bool:
        """Whether there are none at all."""
        return not self._store.notifications

    def pending(self, worker_id: str) -> list[Notification]:
        """Those that this worker acknowledges."""
        found = []
        for saga_id, version in sorted(self._store.notifications):
            row = self._store.sagas.get(saga_id)
            owner = None if row is None else row["owner"]
            is_over = row is None or row["status"] in ENDED
            if is_over or owner == worker_id:
                found.append(Notification(saga_id, version, owner, is_over))
        return found[:READ_AT_ONCE]

    def unclaimed(self, names: Collection[str], plans_apart: Collection[str] = ()) -> list[str]:
        """Sagas without a living owner that have one; those that were sent something come first."""
        found = [
            (saga_id, version)
            for saga_id, version in sorted(self._store.notifications)
            if (row := self._store.sagas.get(saga_id)) and row["status"] not in ENDED and row["name"] in names
            if row["plan_id"] not in plans_apart
            if row["owner"] is None or (version > 1 and row["owner"] not in self._store.living)
        ]
        sent = dict.fromkeys(saga_id for saga_id, version in found if version > 1)
        return list(sent)[:UNCLAIMED_AT_ONCE] or [saga_id for saga_id, _ in found][:1]

    def acknowledge(self, notifications: Sequence[Notification]) -> None:
        """Remove notifications whose sagas were read."""
        for notification in notifications:
            self._store.notifications.pop((notification.saga_id, notification.version), None)
