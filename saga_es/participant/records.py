"""Event-sourced records: each has its own stream in the same log, named by the idempotency key of its register call.

The expected version does all the work. A repeated register call conflicts at version 1, and gets the fields of the
first. A rollback that comes first writes a tombstone at version 1, so that the late register call is refused. So one
mechanism handles repeated calls, compensations of nothing, and late calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, assert_never

import msgspec
import sqlalchemy as sa

from saga_es.errors import SagaError, VersionConflict
from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import Change, View


class RecordRegistered(msgspec.Struct, frozen=True):
    """The record was registered, and is active."""

    fields: dict[str, Any]


class RecordRolledBack(msgspec.Struct, frozen=True):
    """The record was rolled back, and is no longer active."""


class RecordTombstoned(msgspec.Struct, frozen=True):
    """The id was rolled back before it was registered, so it can never be registered."""


RecordEvent = RecordRegistered | RecordRolledBack | RecordTombstoned
RECORD_EVENTS: tuple[type[Any], ...] = (RecordRegistered, RecordRolledBack, RecordTombstoned)


class NotSeen(SagaError):
    """No record ever had this id."""


class Tombstoned(SagaError):
    """This id was rolled back before it was registered: the register call came too late, and did nothing."""


class TakenElsewhere(SagaError):
    """The id names something that is not a record of this service."""


class Journal(Protocol):
    """The log that keeps the records. The engine is a journal."""

    def append(self, stream_id: str, category: str, expected_version: int, events: Sequence[Any]) -> None:
        """Append events durably.

        Raises:
            VersionConflict: The stream is not at the expected version.
        """
        ...

    def read(self, stream_id: str) -> list[Recorded]:
        """The stream's events, in order."""
        ...


class Records:
    """The records of one service.

    Args:
        journal: The log that keeps them.
        category: The service's category in the log.
    """

    def __init__(self, journal: Journal, category: str) -> None:
        self._journal = journal
        self._category = category

    def register(self, record_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Register a record. If this id was registered before, nothing changes.

        Returns:
            The fields of the first registration under this id: those given, unless the call is a repeat.

        Raises:
            Tombstoned: The id was rolled back before it was registered.
            TakenElsewhere: The id names something else.
            StoreUnavailable: The record may be registered or not. Repeat the call with the same id.
        """
        registered = RecordRegistered(dict(fields))
        try:
            self._journal.append(record_id, self._category, 0, [registered])
        except VersionConflict:
            found = self.first_fields(record_id)
            assert found is not None, "a conflict at version 1 leaves an event at version 1"
            return found
        return registered.fields

    def first_fields(self, record_id: str) -> dict[str, Any] | None:
        """The fields of the first registration under this id; None if it was never registered.

        Raises:
            Tombstoned: The id was rolled back before it was registered.
            TakenElsewhere: The id names something else.
        """
        match self._events(record_id):
            case []:
                return None
            case [RecordRegistered(fields), *_]:
                return fields
            case _:
                raise Tombstoned(f"{record_id} was rolled back before it was registered; use a new key")

    def roll_back(self, record_id: str, *, before_registered: bool) -> None:
        """Undo a registration. A repeated undo changes nothing.

        Args:
            record_id: The id, or the key, of the registration.
            before_registered: Whether to write a tombstone if there is nothing to undo yet. A saga needs that.

        Raises:
            NotSeen: There is nothing to undo, and no tombstone is wanted.
            TakenElsewhere: The id names something else.
            StoreUnavailable: The registration may be undone or not. Repeat the call.
        """
        match self._events(record_id):
            case [] if not before_registered:
                raise NotSeen(f"no {self._category} was ever registered under {record_id}")
            case []:
                undone: tuple[int, RecordEvent] = (0, RecordTombstoned())
            case [RecordRegistered()]:
                undone = (1, RecordRolledBack())
            case _:
                return
        try:
            self._journal.append(record_id, self._category, undone[0], [undone[1]])
        except VersionConflict:  # another call has just registered it, or undone it
            self.roll_back(record_id, before_registered=before_registered)

    def is_active(self, record_id: str) -> bool:
        """Whether this service has an active record with this id."""
        try:
            match self._events(record_id):
                case [RecordRegistered()]:
                    return True
                case _:
                    return False
        except TakenElsewhere:
            return False

    def _events(self, record_id: str) -> list[RecordEvent]:
        history = self._journal.read(record_id)
        if history and history[0].category != self._category:
            raise TakenElsewhere(
                f"{record_id} belongs to the category {history[0].category}, not {self._category}; use a new key"
            )
        return [recorded.event for recorded in history]


def record_table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """The table of a service's active records: its own columns between the id and the time of registration."""
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("id", key_text(36), primary_key=True),
        *columns,
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Index(f"{name}_newest", "created_at", "id"),
    )


def record_view(table: sa.Table, category: str) -> View:
    """The view of active records: a column for each field, and `created_at`."""

    def change(recorded: Recorded) -> Change:
        event: RecordEvent = recorded.event
        match event:
            case RecordRegistered(fields):
                return {**fields, "created_at": recorded.recorded_at}
            case RecordRolledBack() | RecordTombstoned():
                return None
            case _:
                assert_never(event)

    return View(table, category, change)
