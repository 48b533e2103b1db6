"""The ports of the store: what the runtime asks of it, and what crosses between them.

The databases satisfy them (`saga_es.store.database_store`), and so does the store in memory of the simulator
(`saga_es.testing.memory`). One contract suite runs on all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
from sqlalchemy.engine import Connection

from saga_es.store.log.entries import Draft, Entry, Recorded, Unreadable
from saga_es.store.process import Process

# ── What crosses ─────────────────────────────────────────────────────────────────────────────────────────

Prepared = tuple[Draft, list[dict[str, Any]]]
"""A draft with its rows: what a writer takes."""


class Written(msgspec.Struct, frozen=True):
    """The draft stands in the log."""


class Conflict(msgspec.Struct, frozen=True):
    """The stream had moved on; nothing of the draft was written."""


class Refused(msgspec.Struct, frozen=True):
    """The database will never take this draft; nothing of it was written."""

    reason: str


Receipt = Written | Conflict | Refused

READ_AT_ONCE = 500
"""Notifications that `pending` gives at most."""


class Notification(msgspec.Struct, frozen=True):
    """Something was appended to a saga, up to this version, by somebody who does not own it.

    Attributes:
        owner: The worker that owns the saga; None when none does.
        is_over: The saga has ended, or is none.
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

    def decode(self, entry: Entry) -> Recorded:
        """The entry with its event decoded.

        Raises:
            UnreadableEvent: It cannot be.
        """
        ...

    def told(self, entries: Iterable[Entry]) -> list[Recorded | Unreadable]:
        """The entries, each decoded if it can be."""
        ...

    def archive_of(self, stream_id: str) -> str | None:
        """The name of the archive that a stream is in; None when it is in none."""
        ...


class Writer(Protocol):
    """Appends to the log; nothing else does."""

    def prepare(self, draft: Draft) -> Prepared:
        """The draft with its rows: what cannot be encoded fails here, before any batch.

        Raises:
            BadStreamId: The log does not take such an id.
            NothingToAppend: There are no events in it.
            PayloadTooLarge: An event is larger than the limit.
            PayloadUnencodable: An event has no JSON form.
        """
        ...

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Append drafts, each of another stream; each draft all or none, and one bad draft harms no other.

        A draft that stands in the log already is `Written`, also when others have appended behind it.

        Returns:
            A receipt for each draft, in their order.

        Raises:
            StoreUnavailable: Nobody knows what took place. Writing the same batch again settles it.
        """
        ...


class Workers(Protocol):
    """Who is at work: one row per worker, with a heartbeat. Each method may raise `StoreUnavailable`."""

    @property
    def lease_s(self) -> float:
        """Seconds without a heartbeat after which a worker counts as gone."""
        ...

    def beat(self, worker_id: str, process: Process) -> bool:
        """Say that this worker lives; True when there was no row: at the first beat, or when it had counted as gone."""
        ...

    def leave(self, worker_id: str) -> None:
        """Say goodbye: what this worker leaves unfinished may be taken over at once."""
        ...

    def heartbeats(self) -> Mapping[str, float]:
        """The last heartbeat of each worker that has a row, living or not, in seconds since 1970."""
        ...

    def bury(self) -> list[str]:
        """Remove the workers that are gone: their process is, or their lease ran out."""
        ...

    def orphans(self, limit: int, names: Collection[str], apart_from: Collection[str] = ()) -> dict[str, str | None]:
        """Unfinished sagas of these definitions whose owner has no row, and their last owners; oldest first."""
        ...

    def orphans_of_others(self, names: Collection[str]) -> dict[str, int]:
        """How many unfinished sagas whose owner has no row there are of other definitions, by name."""
        ...

    def moved_at(self, saga_ids: Sequence[str]) -> dict[str, datetime]:
        """When each of these sagas moved last, of those that exist; at most some hundreds."""
        ...


class Notifications(Protocol):
    """The notifications that nobody has acknowledged yet. Each method may raise `StoreUnavailable`."""

    def is_empty(self) -> bool:
        """Whether there is none at all."""
        ...

    def pending(self, worker_id: str) -> list[Notification]:
        """Those that a worker acknowledges: of its own sagas, and of sagas that are over; by saga and version."""
        ...

    def unclaimed(self, names: Collection[str]) -> bool:
        """Whether one is pending for an unfinished saga of these definitions that nobody owns."""
        ...

    def acknowledge(self, notifications: Sequence[Notification]) -> None:
        """Remove notifications whose sagas were read; one that is gone already is no fault."""
        ...


# ── Of a store whose database callers use too ────────────────────────────────────────────────────────────


class SharedLog(Log, Protocol):
    """A log that can be read in a transaction of a caller's."""

    def read(self, stream_id: str, connection: Connection | None = None) -> list[Recorded]:
        """See `Log.read`; as of now, or as a connection sees the stream."""
        ...


class SharedWriter(Writer, Protocol):
    """A writer that can append in a transaction of a caller's."""

    def write_within(self, connection: Connection, prepared: Prepared) -> None:
        """Append a draft in the transaction of a connection: it takes place exactly when that commits.

        Raises:
            sqlalchemy.exc.IntegrityError: The stream has moved past what was expected; nothing was appended, and the
                transaction is as it was.
            VersionConflict: The stream is not as far as was expected; the same holds.
        """
        ...
