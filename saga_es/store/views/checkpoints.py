"""Checkpoints: the position that each asynchronous view has reached, written in the transaction of the view's rows.

Owns: that each event is applied once, by one worker. A worker advances the checkpoint only if it still holds the
position that the worker read. Beside the position is the reason why a view cannot advance, for people and programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.drivers.driver import driver_of
from saga_es.store.host_time import host_now
from saga_es.store.tables import saga_checkpoints

NOTHING = "{}"

PUBLISHER = "publisher:"
"""What the name of a publisher's row begins with; `store/publishers.py` reads those rows, and nobody else."""

VERDICT = "verified:"
"""The same of what a verification found, for `store/verdicts.py`."""

SHARED = "shared:"
"""The same of secrets that all processes share, for `store/shared_secrets.py`."""


class Failed(msgspec.Struct, frozen=True):
    """The event at which a view fails."""

    position: int
    type: str
    stream_id: str
    error: str


class Pending(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reason why a view cannot advance.

    Attributes:
        failed: It failed, and tries again later.
        swap: Its table is being replaced by a table that has reached this position.
        behind: The first event that an inline view lacks. Such a view has a row here only while it is behind.
    """

    failed: Failed | None = None
    swap: int | None = None
    behind: Failed | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """The position that a view has reached.

    Attributes:
        position: The last event applied; 0: none.
        pending: The reason why it cannot advance.
        updated_at: When it last advanced or failed.
    """

    name: str
    position: int
    pending: Pending
    updated_at: datetime


_columns = saga_checkpoints.c


def read(connection: Connection) -> dict[str, Checkpoint]:
    """The checkpoints of asynchronous views, by the names of the views."""
    return {name: checkpoint for name, checkpoint in _all(connection).items() if checkpoint.pending.behind is None}


def behind(connection: Connection) -> dict[str, Checkpoint]:
    """The inline views that lack events, by name; `pending.behind` says which event first, and why."""
    return {name: checkpoint for name, checkpoint in _all(connection).items() if checkpoint.pending.behind is not None}


def mark_behind(connection: Connection, name: str, failed: Failed) -> None:
    """Record that an inline view lacks an event, in the transaction that appends it; an earlier reason stays."""
    row = {"name": str(name), "position": failed.position, "pending": _text(Pending(behind=failed))}
    insert = driver_of(connection.dialect).insert_unless_there(saga_checkpoints)
    connection.execute(insert, row | {"updated_at": host_now()})


def still_behind(connection: Connection, name: str, failed: Failed) -> None:
    """Record why making a view anew has failed; nothing changes if it is not behind any more."""
    is_behind = (_columns.name == str(name)) & sa.cast(_columns.pending, sa.Text).like('{"behind"%')
    changed = {"pending": _text(Pending(behind=failed)), "updated_at": host_now()}
    connection.execute(sa.update(saga_checkpoints).where(is_behind).values(changed))


def _all(connection: Connection) -> dict[str, Checkpoint]:
    return {
        row.name: Checkpoint(row.name, row.position, msgspec.json.decode(row.pending, type=Pending), row.updated_at)
        for row in connection.execute(sa.select(saga_checkpoints))
        if not row.name.startswith((PUBLISHER, VERDICT, SHARED))
    }


def begin(connection: Connection, name: str, position: int) -> None:
    """Set a view's checkpoint to a position, whatever it was."""
    forget(connection, [name])
    row = {"name": name, "position": position, "pending": NOTHING, "updated_at": host_now()}
    connection.execute(sa.insert(saga_checkpoints), row)


def forget(connection: Connection, names: Sequence[str]) -> None:
    """Remove the checkpoints of views that are no longer asynchronous."""
    connection.execute(sa.delete(saga_checkpoints).where(_columns.name.in_(names)))


def advance(connection: Connection, checkpoint: Checkpoint, position: int) -> bool:
    """Advance a checkpoint to a position; that clears a recorded failure.

    Returns:
        False when the checkpoint has moved, or the table is being replaced; then nothing changes.
    """
    return _change(connection, checkpoint, {"position": position, "pending": NOTHING})


def fail(connection: Connection, checkpoint: Checkpoint, failed: Failed) -> bool:
    """Record the event at which a view fails, unless the view has advanced meanwhile."""
    return _change(connection, checkpoint, {"pending": _text(Pending(failed=failed))})


def mark_swap(connection: Connection, name: str, position: int) -> None:
    """Stop a view while its table is replaced by a table that has reached a position."""
    changed = {"pending": _text(Pending(swap=position)), "updated_at": host_now()}
    connection.execute(sa.update(saga_checkpoints).where(_columns.name == name).values(changed))


def _change(connection: Connection, checkpoint: Checkpoint, changed: dict[str, Any]) -> bool:
    stands = sa.and_(
        _columns.name == checkpoint.name,
        _columns.position == checkpoint.position,
        sa.cast(_columns.pending, sa.Text).not_like('{"swap"%'),
    )
    changed |= {"updated_at": host_now()}
    return connection.execute(sa.update(saga_checkpoints).where(stands).values(changed)).rowcount == 1


def _text(pending: Pending) -> str:
    return msgspec.json.encode(pending).decode()
