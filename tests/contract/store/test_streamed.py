"""Rows that are read a part at a time, over a connection that the server ends meanwhile."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

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


def end_others(store: Store) -> None:
    """Have the server end all other sessions of this database."""
    with store.database.engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def before_the_first(store: Store) -> None:
    with store.database.reading() as connection:
        connection.exec_driver_sql("SELECT 1")
        end_others(store)
        with streamed(connection, ALL) as rows:
            rows.all()


def between_two(store: Store) -> None:
    with store.database.reading() as connection, streamed(connection, ALL, max_row_buffer=10) as rows:
        rows.fetchmany(10)
        end_others(store)
        rows.all()


def before_the_close(store: Store) -> None:
    with store.database.reading() as connection, streamed(connection, ALL, max_row_buffer=10) as rows:
        rows.fetchmany(10)
        end_others(store)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("cut", [before_the_first, between_two, before_the_close])
def test_a_connection_that_is_cut_leaves_no_open_cursor(
    full: Store, complaints: list[Any], cut: Callable[[Store], None]
) -> None:
    """Python would complain to the application, whenever it comes to collect it."""
    with suppress(StoreUnavailable):
        cut(full)
    gc.collect()
    assert complaints == []
