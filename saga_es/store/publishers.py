"""Publishers: how far each has told the log to the outside, and which process tells it now.

A row of `saga_checkpoints` under a name of its own. One process at a time holds a publisher, for as long as it renews
that by the database's clock. A process that was held up longer than that may tell an event once more, never less.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.database import Database
from saga_es.store.drivers.driver import driver_of
from saga_es.store.host_time import host_now
from saga_es.store.tables import saga_checkpoints, saga_events
from saga_es.store.views.checkpoints import PUBLISHER
from saga_es.store.workers import database_now

LEASE_S = 30.0
"""How long a process holds a publisher without a sign: longer than one delivery may take."""


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who publishes, until when, and what went wrong at last.

    Attributes:
        holder: The process; None when no process publishes.
        until: Seconds since 1970, by the database's clock.
        error: Why the last delivery failed; None when it did not.
    """

    holder: str | None = None
    until: float = 0.0
    error: str | None = None


class PublisherRow(msgspec.Struct, frozen=True):
    """One publisher.

    Attributes:
        position: The last position that was told, or did not concern it.
        lag: Positions of the log after it.
    """

    name: str
    position: int
    lag: int
    held: Held
    updated_at: datetime


class Publishers:
    """The table of publishers.

    Args:
        lease_s: How long a process holds a publisher without a sign.
    """

    def __init__(self, database: Database, lease_s: float = LEASE_S) -> None:
        self._database = database
        self.lease_s = lease_s

    def register(self, name: str, *, at_end: bool) -> None:
        """Give a publisher that is new its place: the present end of the log, or its beginning.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._database.reading() as connection:
            row = connection.execute(_row(name)).one_or_none()
        if row is None:
            with self._database.writing() as connection:
                self._make(connection, name, at_end=at_end)

    def hold(self, name: str, holder: str, *, at_end: bool = True) -> int | None:
        """Become or stay the process that publishes. A publisher that is new, or was forgotten, is registered.

        Returns:
            The position after which to go on; None while another process publishes.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._database.reading() as connection:
            row = connection.execute(_row(name)).one_or_none()
        if row is not None and _is_others(_held(row.pending), holder, row.now):
            return None
        with self._database.writing() as connection:
            if row is None:
                self._make(connection, name, at_end=at_end)
            return self._change(connection, name, holder, lambda held: held, takes=True)

    def advance(self, name: str, holder: str, position: int) -> bool:
        """Record that everything up to a position was told; a recorded error is over.

        Returns:
            False when this process does not publish any more: another does, or somebody moved the publisher. Then
            nothing changes.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._database.writing() as connection:
            told = self._change(connection, name, holder, lambda held: msgspec.structs.replace(held, error=None))
            if told is not None:
                connection.execute(sa.update(saga_checkpoints).where(_named(name)).values(position=position))
            return told is not None

    def fail(self, name: str, holder: str, error: str) -> None:
        """Record why a delivery failed, for people.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._database.writing() as connection:
            self._change(connection, name, holder, lambda held: msgspec.structs.replace(held, error=error))

    def release(self, name: str, holder: str) -> None:
        """Let another process publish at once.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._database.writing() as connection:
            self._change(connection, name, holder, lambda held: Held(error=held.error))

    def move(self, name: str, position: int) -> bool:
        """Let a publisher tell everything after a position, again if need be; the process that publishes notices.

        Returns:
            False when there is no such publisher.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        values = {"position": position, "pending": _text(Held()), "updated_at": host_now()}
        with self._database.writing() as connection:
            return connection.execute(sa.update(saga_checkpoints).where(_named(name)).values(values)).rowcount > 0

    def forget(self, name: str) -> bool:
        """Forget a publisher whose target is no more: what is archived does not wait for it any longer.

        Returns:
            False when there is no such publisher.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._database.writing() as connection:
            return connection.execute(sa.delete(saga_checkpoints).where(_named(name))).rowcount > 0

    def all(self) -> list[PublisherRow]:
        """Every publisher there is.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._database.reading() as connection:
            return publishers(connection)

    def _make(self, connection: Connection, name: str, *, at_end: bool) -> None:
        last = sa.select(sa.func.coalesce(sa.func.max(saga_events.c.position), 0))
        end = connection.scalar(last) if at_end else 0
        row = {"name": PUBLISHER + name, "position": end, "pending": _text(Held()), "updated_at": host_now()}
        connection.execute(driver_of(connection.dialect).insert_unless_there(saga_checkpoints), row)

    def _change(
        self,
        connection: Connection,
        name: str,
        holder: str,
        change: Callable[[Held], Held],
        *,
        takes: bool = False,
    ) -> int | None:
        """Change a row that this process holds, or with `takes` one that it may hold; its position, or None."""
        row = connection.execute(_row(name).with_for_update()).one_or_none()
        if row is None:
            return None
        held = _held(row.pending)
        if held.holder != holder and (not takes or _is_others(held, holder, row.now)):
            return None
        mine = change(msgspec.structs.replace(held, holder=holder, until=row.now + self.lease_s))
        values = {"pending": _text(mine), "updated_at": host_now()}
        connection.execute(sa.update(saga_checkpoints).where(_named(name)).values(values))
        return int(row.position)


def publishers(connection: Connection) -> list[PublisherRow]:
    """Every publisher there is, by name."""
    end = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(saga_events.c.position), 0))) or 0
    rows = connection.execute(
        sa.select(saga_checkpoints).where(_columns.name.startswith(PUBLISHER, autoescape=True)).order_by(_columns.name)
    )
    return [
        PublisherRow(
            row.name.removeprefix(PUBLISHER),
            row.position,
            max(0, end - row.position),
            _held(row.pending),
            row.updated_at,
        )
        for row in rows
    ]


_columns = saga_checkpoints.c


def _named(name: str) -> sa.ColumnElement[bool]:
    return _columns.name == PUBLISHER + name


def _row(name: str) -> sa.Select[Any]:
    return sa.select(saga_checkpoints, database_now().label("now")).where(_named(name))


def _is_others(held: Held, holder: str, now: float) -> bool:
    return held.holder not in {None, holder} and held.until > now


def _held(text: str) -> Held:
    return msgspec.json.decode(text, type=Held)


def _text(held: Held) -> str:
    return msgspec.json.encode(held).decode()
