"""Rows that are read a part at a time, over a connection that the server ends meanwhile."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import StoreUnavailable
from saga_es.store.drivers.streamed import streamed
from saga_es.store.tables import saga_events
from tests.conftest import Store, note_draft

ALL = sa.select(saga_events.c.position)


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is said of objects that were collected while they were open."""
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    return found


@pytest.fixture
def full(store: Store) -> Store:
    """A log of some thousand events."""
    for number in range(4):
        store.write(note_draft(f"n-{number}", *["text"] * 500))
    return store


def end(store: Store, connection: Connection) -> None:
    """Have the server end the session of this connection."""
    asked, order = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mysql": ("SELECT connection_id()", "KILL {}"),
    }[store.database.driver.name]
    session = connection.exec_driver_sql(asked).scalar_one()
    with store.database.engine.connect() as other:
        other.exec_driver_sql(order.format(session))


def before_the_first(store: Store) -> None:
    with store.database.reading() as connection:
        end(store, connection)
        with streamed(connection, ALL) as rows:
            rows.all()


def between_two(store: Store) -> None:
    with store.database.reading() as connection, streamed(connection, ALL, max_row_buffer=10) as rows:
        rows.fetchmany(10)
        with store.database.engine.connect() as other:
            other.exec_driver_sql(ENDS_OTHERS[store.database.driver.name])
        rows.all()


def before_the_close(store: Store) -> None:
    with store.database.reading() as connection, streamed(connection, ALL, max_row_buffer=10) as rows:
        rows.fetchmany(10)
        with store.database.engine.connect() as other:
            other.exec_driver_sql(ENDS_OTHERS[store.database.driver.name])


ENDS_OTHERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("cut", [before_the_first, between_two, before_the_close])
def test_a_connection_that_is_cut_leaves_no_open_cursor(
    full: Store, complaints: list[Any], cut: Callable[[Store], None]
) -> None:
    """Python would complain to the application, whenever it comes to collect it."""
    with pytest.raises(StoreUnavailable):
        cut(full)
        raise StoreUnavailable("nobody has noticed yet")
    gc.collect()
    assert complaints == []
