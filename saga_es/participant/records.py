"""Event-sourced records: one stream each in the same log, named by the idempotency key that registered it.

The expected version does all the work. A repeated register is a conflict at version 1, and is answered with
what stands there. A rollback that comes first writes a tombstone at version 1, so the late register is refused.
Idempotency, empty compensation and hanging are one mechanism.
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
    """The record exists from now on."""

    fields: dict[str, Any]


class RecordRolledBack(msgspec.Struct, frozen=True):
    """The record is gone."""


class RecordTombstoned(msgspec.Struct, frozen=True):
    """It was rolled back before it was ever registered, and so never will be."""


RecordEvent = RecordRegistered | RecordRolledBack | RecordTombstoned
RECORD_EVENTS: tuple[type[Any], ...] = (RecordRegistered, RecordRolledBack, RecordTombstoned)


class NotSeen(SagaError):
    """No record ever had this id."""


class Tombstoned(SagaError):
    """This id was rolled back before it was registered: the call came too late, and does nothing."""


class TakenElsewhere(SagaError):
    """The id names something that is not a record of this service."""


class Journal(Protocol):
    """What records are kept in; the engine is one."""

    def append(self, stream_id: str, category: str, expected_version: int, events: Sequence[Any]) -> None:
        """Append durably, or raise `VersionConflict`."""
        ...

    def read(self, stream_id: str) -> list[Recorded]:
        """The stream's events, in order."""
        ...


class Records:
    """The records of one service.

    Args:
        journal: Where they are kept.
        category: The service's category in the log.
    """

    def __init__(self, journal: Journal, category: str) -> None:
        self._journal = journal
        self._category = category

    def register(self, record_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Register a record, or find that this id was registered before.

        Returns:
            The fields of the first registration under this id: those given, unless the call is a repeat.

        Raises:
            Tombstoned: The id was rolled back before it was registered.
            TakenElsewhere: The id names something else.
            StoreUnavailable: Whether it was registered is not known; repeat it under the same id.
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
        """What this id was first registered with; None when it never was.

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
        """Undo a registration; undoing it again changes nothing.

        Args:
            record_id: The id, or the key, that it was registered under.
            before_registered: Leave a tombstone when there is nothing to undo yet, as a saga needs it.

        Raises:
            NotSeen: There is nothing to undo, and no tombstone is wanted.
            TakenElsewhere: The id names something else.
            StoreUnavailable: Whether it was undone is not known; repeat it.
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
        except VersionConflict:  # somebody registered it, or undid it, just now
            self.roll_back(record_id, before_registered=before_registered)

    def is_active(self, record_id: str) -> bool:
        """Whether a record of this service has this id, and is not rolled back."""
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
                f"{record_id} is of the category {history[0].category}, not {self._category}; use a new key"
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
