"""The database alone: `python -m benchmarks.contenders.raw URL`. It inserts the rows of sagas, and does nothing else.

The engine first writes the rows of one canonical saga to this database. Copies of them go into a table with the same
columns, key and index, at the same durability, under ids that grow with time as the engine's do. Many rows go by the
driver's `executemany` in one transaction, on PostgreSQL in one pipeline. There, a single row takes one round trip.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.contenders.asked import Answers, answer_all
from benchmarks.contenders.work import HAPPY_APPENDS, HAPPY_EVENTS, INPUT, trip
from saga_es import open_engine
from saga_es.runtime.ids import new_id
from saga_es.store.database import Database

Rows = list[tuple[Any, ...]]


def _ready() -> Answers:
    url = sys.argv[1]
    rows, columns = _rows_of_one_saga(url)
    write = _sqlite(url.removeprefix("sqlite:///"), columns) if url.startswith("sqlite") else _postgresql(url, columns)

    def batches(size: int, seconds: float) -> dict[str, Any]:
        """Commits of so many rows each."""
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            batch: Rows = []
            while len(batch) < size:
                batch += _renamed(rows)
            write(batch[:size])
            done += size
        return {"per_s": done / HAPPY_EVENTS / (time.perf_counter() - began)}

    def singles(seconds: float) -> dict[str, Any]:
        """The time of several commits of one row each: as many as a saga has appends."""
        took: list[float] = []
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            for row in _renamed(rows)[:HAPPY_APPENDS]:
                write([row])
            took.append(time.perf_counter() - began)
        took.sort()
        return {"p50_ms": took[len(took) // 2] * 1e3, "commits_per_s": len(took) * HAPPY_APPENDS / sum(took)}

    return {"batches": batches, "singles": singles}


def _rows_of_one_saga(url: str) -> tuple[Rows, tuple[str, ...]]:
    """The rows and the names of their columns, without the position, which the database assigns."""
    with open_engine(url, trip, log_level="warning") as engine:
        saga_id = engine.start(trip, INPUT).saga_id
        engine.follow(saga_id).result()
    database = Database(url)
    with database.reading() as connection:
        names = [column["name"] for column in sa.inspect(connection).get_columns("saga_events")]
        columns = tuple(name for name in names if name != "position")
        casts = [f"{c}::text" if c == "data" and database.driver.name == "postgresql" else c for c in columns]
        query = f"SELECT {', '.join(casts)} FROM saga_events WHERE stream_id = '{saga_id}' ORDER BY version"
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    database.close()
    assert len(found) == HAPPY_EVENTS, found
    return found, columns


def _renamed(rows: Rows) -> Rows:
    """The rows with the id of another saga. The stream's id is their first column."""
    saga_id = new_id()
    return [(saga_id, *row[1:]) for row in rows]


Write = Callable[[Sequence[tuple[Any, ...]]], object]
"""Inserts rows in one transaction; returns when they are durable."""


def _sqlite(file: str, columns: Sequence[str]) -> Write:
    connection = sqlite3.connect(file)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute("DROP TABLE IF EXISTS raw_events")
    connection.execute(
        f"CREATE TABLE raw_events (position INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(columns)}, "
        "UNIQUE (stream_id, version))"
    )
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO raw_events ({', '.join(columns)}) VALUES ({marks})"

    def write(rows: Sequence[tuple[Any, ...]]) -> None:
        connection.executemany(statement, rows)
        connection.commit()

    return write


def _postgresql(url: str, columns: Sequence[str]) -> Write:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("DROP TABLE IF EXISTS raw_events")
    connection.execute("CREATE TABLE raw_events (LIKE saga_events INCLUDING DEFAULTS INCLUDING INDEXES)")
    marks = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO raw_events ({', '.join(columns)}) VALUES ({marks})"

    def write(rows: Sequence[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            connection.execute(statement, rows[0])
            return
        with connection.pipeline(), connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    return write


if __name__ == "__main__":
    answer_all(_ready)
