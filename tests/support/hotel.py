"""A hotel: a service with rooms, behind the barrier."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from saga_es.participant import Barrier, TryAgain
from saga_es.store.drivers.url import parse_url
from tests.conftest import TIMEOUT_S

AT_ONCE = 8


class Hotel:
    """A service with rooms in a table of its own, reached by plain connections as SQLAlchemy makes them."""

    def __init__(self, url: str, level: str = "default") -> None:
        # At the strictest level the service's own statements, and its commit, may have to give way, too.
        self.gives_way = TryAgain if level == "default" else (TryAgain, DBAPIError)
        metadata = sa.MetaData()
        self.rooms = sa.Table(
            "rooms",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("guest", sa.String(40), nullable=False),
        )
        self.prices = sa.Table("prices", metadata, sa.Column("price", sa.Integer))
        self.barrier = Barrier(metadata)
        options: dict[str, Any] = {} if level == "default" else {"isolation_level": level}
        self.engine = sa.create_engine(parse_url(url), pool_size=AT_ONCE, **options)
        metadata.create_all(self.engine)
        self.acted = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def book(self, key: str | None, guest: str = "Ada") -> Any:
        """Book a room, once for each key."""
        with self.engine.begin() as connection:
            return self.barrier.act(connection, key, lambda: self._insert(connection, guest))

    def cancel(self, key: str) -> bool:
        """Undo a booking."""
        with self.engine.begin() as connection:
            return self.barrier.undo(connection, key, lambda booked: self._delete(connection, booked["room"]))

    def close(self) -> None:
        """Let every call end, and close the connections."""
        self.may_end.set()
        self.engine.dispose()

    def insistently(self, call: Callable[[], Any]) -> Any:
        """Make a call again while the database has it give way, as a saga repeats one that is answered 5xx."""
        deadline = monotonic() + TIMEOUT_S
        while True:
            try:
                return call()
            except self.gives_way:
                if monotonic() > deadline:
                    raise
            sleep(0.01)  # the others get on meanwhile

    @property
    def guests(self) -> list[str]:
        """Who has a room."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(self.rooms.c.guest).order_by(self.rooms.c.id)))

    @property
    def keys(self) -> list[str]:
        """The keys that are remembered."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(self.barrier.table.c.key)))

    def _insert(self, connection: Connection, guest: str) -> dict[str, Any]:
        made = connection.execute(sa.insert(self.rooms).values(guest=guest)).inserted_primary_key
        assert made is not None
        self.acted.set()
        assert self.may_end.wait(TIMEOUT_S)
        return {"room": made[0], "guest": guest}

    def _delete(self, connection: Connection, room: int) -> None:
        connection.execute(sa.delete(self.rooms).where(self.rooms.c.id == room))
