"""The ports of the store: the protocols that the runtime uses, and the values that cross them.

The store on a database (`saga_es.store.database_store`) implements them, and so does the simulator's store in memory
(`saga_es.testing.memory`). One contract suite tests both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec
from sqlalchemy.engine import Connection

from saga_es.store.log.entries import Draft, Entry, Prepared, Recorded, StreamSize, Unreadable
from saga_es.store.process import Process

# ── What crosses ─────────────────────────────────────────────────────────────────────────────────────────


class Written(msgspec.Struct, frozen=True):
    """The draft is in the log."""


class Conflict(msgspec.Struct, frozen=True):
    """The stream had moved on; nothing of the draft was written."""


class Refused(msgspec.Struct, frozen=True):
    """The database will never take this draft; nothing of it was written."""

    reason: str


Receipt = Written | Conflict | Refused

READ_BYTES_AT_ONCE = 8_000_000
"""Bytes of the streams that a worker reads before it turns to all else: to read and fold them takes some 50 ms."""

READ_AT_ONCE = 500
"""The most notifications that `pending` returns."""

UNCLAIMED_AT_ONCE = 100
"""The most sagas that `unclaimed` returns."""


class Notification(msgspec.Struct, frozen=True):
    """Something was appended to a saga, up to this version, by a process that does not own the saga.

    Attributes:
        owner: The worker that owns the saga; None when none does.
        is_over: The saga has ended, or does not exist.
    """

    saga_id: str
    version: int
    owner: str | None
    is_over: bool


# ── The ports ────────────────────────────────────────────────────────────────────────────────────────────


class Log(Protocol):
    """Reads streams. Each method may raise `StoreUnavailable`, except those that take entries."""

    def read(self, stream_id: str) -> list[Recorded]:
        """The events of a stream, in order; empty when it does not exist.

        Raises:
            UnreadableEvent: An event cannot be decoded.
        """
        ...

    def read_many(self, stream_ids: Sequence[str]) -> Mapping[str, list[Recorded]]:
        """The events of several streams, each in order; an empty list for a stream that does not exist.

        Raises:
            UnreadableEvent: An event cannot be decoded.
        """
        ...

    def entries_of(self, stream_ids: Sequence[str]) -> Mapping[str, list[Entry]]:
        """The rows of several streams, each in order; never decoded."""
        ...

    def versions_of(self, stream_ids: Sequence[str]) -> Mapping[str, int]:
        """The number of events of each of these streams that exists; pass at most some hundreds."""
        ...

    def size_of(self, stream_id: str) -> StreamSize:
        """How large a stream is; it is not read."""
        ...

    def decode(self, entry: Entry) -> Recorded:
        """The entry with its event decoded.

        Raises:
            UnreadableEvent: The event cannot be decoded.
        """
        ...

    def decode_all(self, entries: Iterable[Entry]) -> list[Recorded | Unreadable]:
        """The entries, each decoded if possible."""
        ...

    def opens(self, key_id: str | None) -> bool:
        """Whether a saga with this key can be read and written here; without a key it can."""
        ...

    def archive_of(self, stream_id: str) -> str | None:
        """The name of the archive that holds a stream; None when no archive does."""
        ...


class Writer(Protocol):
    """Appends to the log; no other object does."""

    def prepare(self, draft: Draft) -> Prepared:
        """The draft with its rows; a draft that cannot be encoded fails here, before any batch.

        Raises:
            BadStreamId: The log does not accept this id.
            NothingToAppend: The draft has no events.
            PayloadTooLarge: An event is larger than the limit.
            PayloadUnencodable: An event has no JSON form.
        """
        ...

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Append drafts, each of another stream. Each is appended whole or not at all, and a bad draft harms no other.

        A draft that is in the log already is `Written`, even when later events follow it.

        Returns:
            A receipt for each draft, in the same order.

        Raises:
            StoreUnavailable: Nobody knows which drafts were written. Writing the same batch again settles it.
        """
        ...


class Orphan(NamedTuple):
    """The row of an unfinished saga without a living owner.

    Attributes:
        owner: The last owner; None when there was none.
    """

    saga_id: str
    owner: str | None
    created_at: datetime
    updated_at: datetime


class Workers(Protocol):
    """The workers: one row each, with a heartbeat. Each method may raise `StoreUnavailable`."""

    @property
    def lease_s(self) -> float:
        """Seconds without a heartbeat after which a worker counts as gone."""
        ...

    def beat(self, worker_id: str, process: Process, code: str | None = None) -> bool:
        """Record that this worker lives. True when it had no row: at its first beat, or after it counted as gone.

        Args:
            worker_id: This worker.
            process: Its process.
            code: The code that it has, as JSON.
        """
        ...

    def leave(self, worker_id: str) -> None:
        """Remove this worker's row: others may take over its unfinished sagas at once."""
        ...

    def heartbeats(self) -> Mapping[str, float]:
        """The last heartbeat of each worker that has a row, living or not, in seconds since 1970."""
        ...

    def bury(self) -> list[str]:
        """Remove the workers that are gone: their process has ended, or their lease has expired."""
        ...

    def codes(self) -> Mapping[str, str | None]:
        """The code of each living worker, as JSON; None for a worker that did not say."""
        ...

    def orphans(
        self,
        limit: int,
        names: Collection[str],
        apart_from: Collection[str] = (),
        due_at: datetime | None = None,
        plans_apart: Collection[str] = (),
    ) -> dict[str, str | None]:
        """Unfinished sagas of these definitions whose owner has no row, with their last owners; oldest first.

        Args:
            limit: The most sagas.
            names: The definitions.
            apart_from: Sagas to leave out.
            due_at: Only sagas that may go on at this time; None: also those that wait.
            plans_apart: Plans whose sagas are left out.
        """
        ...

    def waiting_orphans(
        self,
        limit: int,
        names: Collection[str],
        plan_ids: Collection[str],
        not_due_at: datetime,
        plans_apart: Collection[str] = (),
    ) -> dict[str, str | None]:
        """The orphans that are not due at this time, with their last owners; oldest first.

        Args:
            limit: The most sagas.
            names: The definitions.
            plan_ids: Plans of which one step goes on at a time. Sagas of other plans come first: while one of their
                steps waits, another may have a call in flight.
            not_due_at: The time.
            plans_apart: Plans whose sagas are left out.
        """
        ...

    def expired_orphans(self, limit: int, names: Collection[str], now: datetime) -> dict[str, str | None]:
        """The orphans that have not begun and whose deadline has passed, with their last owners; oldest first."""
        ...

    def orphans_of_plans(
        self, plans: Collection[str], names: Collection[str], limit: int, after: Orphan | None = None
    ) -> list[Orphan]:
        """Unfinished sagas of these plans and definitions whose owner has no row; oldest first, after the given one."""
        ...

    def orphans_by_plan(self) -> dict[tuple[str, str], int]:
        """How many unfinished sagas have an owner without a row, or none, by definition and plan."""
        ...

    def orphans_among(
        self, saga_ids: Collection[str], names: Collection[str], to_begin: Collection[str]
    ) -> dict[str, str | None]:
        """Which of these sagas are orphans of these definitions, with their last owners.

        Args:
            saga_ids: At most some hundreds.
            names: The definitions.
            to_begin: Those of them of which PENDING sagas are found, too.
        """
        ...

    def orphans_of_others(self, names: Collection[str]) -> dict[str, int]:
        """How many unfinished sagas of other definitions have an owner without a row, by name."""
        ...

    def moved_at(self, saga_ids: Sequence[str]) -> dict[str, datetime]:
        """When each of these sagas last changed, if it exists; pass at most some hundreds."""
        ...


class Notifications(Protocol):
    """The notifications that nobody has acknowledged yet. Each method may raise `StoreUnavailable`."""

    def is_empty(self) -> bool:
        """Whether there are none at all."""
        ...

    def pending(self, worker_id: str) -> list[Notification]:
        """Those that a worker acknowledges: for its own sagas, and for sagas that are over; by saga and version."""
        ...

    def unclaimed(self, names: Collection[str], plans_apart: Collection[str] = ()) -> list[str]:
        """Unfinished sagas of these definitions, and no such plan, without a living owner, for which one is pending.

        At most some are named.

        Sagas that somebody sent something to after their start come before those that only wait for a worker.
        """
        ...

    def acknowledge(self, notifications: Sequence[Notification]) -> None:
        """Remove notifications whose sagas were read; a missing notification is no error."""
        ...


# ── Of a store whose database callers use too ────────────────────────────────────────────────────────────


class SharedLog(Log, Protocol):
    """A log that can be read in the caller's transaction."""

    def read(self, stream_id: str, connection: Connection | None = None) -> list[Recorded]:
        """See `Log.read`; at present, or as a connection sees the stream."""
        ...

    def last_of(self, stream_id: str) -> Recorded | None:
        """The last event of a stream; None if the stream does not exist.

        Raises:
            UnreadableEvent: It cannot be decoded.
        """
        ...


class SharedWriter(Writer, Protocol):
    """A writer that can append in the caller's transaction, or several streams as a whole."""

    def write_whole(self, batch: Sequence[Prepared]) -> bool:
        """Append all drafts, each of another stream, in one transaction; False: a stream had moved on, and none was.

        Raises:
            StoreUnavailable: Nobody knows whether they were written; the streams say so.
        """
        ...

    def write_within(self, connection: Connection, prepared: Prepared) -> None:
        """Append a draft in the connection's transaction: it is appended if and only if that commits.

        Raises:
            sqlalchemy.exc.IntegrityError: The stream has passed the expected version; nothing was appended, and the
                transaction is unchanged.
            VersionConflict: The stream has not reached the expected version; the same holds.
        """
        ...
