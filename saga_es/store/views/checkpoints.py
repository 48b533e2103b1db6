"""Checkpoints: how far each view that follows the log has come; its row changes in the transaction of the view's rows.

Owns: that each event is taken up once, by one worker. The row decides: who wants to go on from a position changes the
row only if it still says so. Beside the position stands what keeps a view from going on, for people and programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.tables import saga_checkpoints

NOTHING = "{}"


class Failed(msgspec.Struct, frozen=True):
    """The event that a view does not get past."""

    position: int
    type: str
    stream_id: str
    error: str


class Pending(msgspec.Struct, frozen=True, omit_defaults=True):
    """What keeps a view from going on.

    Attributes:
        failed: It failed, and tries again later.
        swap: Its table is being replaced by one that is as far as this position.
    """

    failed: Failed | None = None
    swap: int | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a view has come.

    Attributes:
        position: The last event it has taken up; 0: none.
        pending: What keeps it from going on.
        updated_at: When it last went on, or failed.
    """

    name: str
    position: int
    pending: Pending
    updated_at: datetime


_columns = saga_checkpoints.c


def read(connection: Connection) -> dict[str, Checkpoint]:
    """All checkpoints, by the names of the views."""
    return {
        row.name: Checkpoint(row.name, row.position, msgspec.json.decode(row.pending, type=Pending), row.updated_at)
        for row in connection.execute(sa.select(saga_checkpoints))
    }


def begin(connection: Connection, name: str, position: int) -> None:
    """Let a view go on from a position, whatever there was."""
    forget(connection, [name])
    row = {"name": name, "position": position, "pending": NOTHING, "updated_at": datetime.now(UTC)}
    connection.execute(sa.insert(saga_checkpoints), row)


def forget(connection: Connection, names: Sequence[str]) -> None:
    """The views do not follow, or not any more."""
    connection.execute(sa.delete(saga_checkpoints).where(_columns.name.in_(names)))


def advance(connection: Connection, checkpoint: Checkpoint, position: int) -> bool:
    """Go on from a checkpoint to a position; no failure is pending then.

    Returns:
        False when the view does not stand there any more, or its table is being replaced: then nothing changes.
    """
    return _change(connection, checkpoint, {"position": position, "pending": NOTHING})


def fail(connection: Connection, checkpoint: Checkpoint, failed: Failed) -> bool:
    """Note the event that a view does not get past, unless it has gone on meanwhile."""
    return _change(connection, checkpoint, {"pending": _text(Pending(failed=failed))})


def mark_swap(connection: Connection, name: str, position: int) -> None:
    """Keep a view from going on while its table is replaced by one that is as far as a position."""
    changed = {"pending": _text(Pending(swap=position)), "updated_at": datetime.now(UTC)}
    connection.execute(sa.update(saga_checkpoints).where(_columns.name == name).values(changed))


def _change(connection: Connection, checkpoint: Checkpoint, changed: dict[str, Any]) -> bool:
    stands = sa.and_(
        _columns.name == checkpoint.name,
        _columns.position == checkpoint.position,
        sa.cast(_columns.pending, sa.Text).not_like('{"swap"%'),
    )
    changed |= {"updated_at": datetime.now(UTC)}
    return connection.execute(sa.update(saga_checkpoints).where(stands).values(changed)).rowcount == 1


def _text(pending: Pending) -> str:
    return msgspec.json.encode(pending).decode()
