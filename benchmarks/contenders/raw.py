"""The database alone: `python -m benchmarks.contenders.raw URL`. The rows of sagas, and nothing that makes them.

The rows are those that the engine wrote for one canonical saga in this very database, at the same durability, into
a table of the same columns, key and index. SQLite by the driver's `executemany`, PostgreSQL by its pipelined one.
"""

from __future__ import annotations

import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.contenders.asked import Answers, answer_all
from benchmarks.contenders.work import HAPPY_APPENDS, HAPPY_EVENTS, INPUT, trip
from saga_es import open_engine
from saga_es.store.database import Database

Rows = list[tuple[Any, ...]]


def _ready() -> Answers:
    url = sys.argv[1]
    rows, columns = _rows_of_one_saga(url)
    if url.startswith("sqlite"):
        insert, commit = _sqlite(url.removeprefix("sqlite:///"), columns)
    else:
        insert, commit = _postgresql(url, columns)

    def batches(size: int, seconds: float) -> dict[str, Any]:
        """Commits of so many rows each."""
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            batch: Rows = []
            while len(batch) < size:
                batch += _renamed(rows)
            insert(batch[:size])
            commit()
            done += size
        return {"per_s": done / HAPPY_EVENTS / (time.perf_counter() - began)}

    def singles(seconds: float) -> dict[str, Any]:
        """The time of as many commits of one row as a saga has appends."""
        took: list[float] = []
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            for row in _renamed(rows)[:HAPPY_APPENDS]:
                insert([row])
                commit()
            took.append(time.perf_counter() - began)
        took.sort()
        return {"p50_ms": took[len(took) // 2] * 1e3, "commits_per_s": len(took) * HAPPY_APPENDS / sum(took)}

    return {"batches": batches, "singles": singles}


def _rows_of_one_saga(url: str) -> tuple[Rows, tuple[str, ...]]:
    """Columns as the database gives them back, but for the position, which it hands out."""
    with open_engine(url, trip, log_level="warning") as engine:
        saga_id = engine.start(trip, INPUT).saga_id
        engine.follow(saga_id).result()
    database = Database(url)
    with database.reading() as connection:
        names = [column["name"] for column in sa.inspect(connection).get_columns("saga_events")]
        columns = tuple(name for name in names if name != "position")
        casts = [f"{c}::text" if c == "data" and database.kind == "postgresql" else c for c in columns]
        query = f"SELECT {', '.join(casts)} FROM saga_events WHERE stream_id = '{saga_id}' ORDER BY version"
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    database.close()
    assert len(found) == HAPPY_EVENTS, found
    return found, columns


def _renamed(rows: Rows) -> Rows:
    """The rows as those of another saga; the stream's id is their first column."""
    saga_id = str(uuid.uuid4())
    return [(saga_id, *row[1:]) for row in rows]


Insert = Callable[[Sequence[tuple[Any, ...]]], object]
Commit = Callable[[], object]


def _sqlite(file: str, columns: Sequence[str]) -> tuple[Insert, Commit]:
    connection = sqlite3.connect(file)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute("DROP TABLE IF EXISTS raw_events")
    connection.execute(
        f"CREATE TABLE raw_events (position INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(columns)}, "
        "UNIQUE (stream_id, version))"
    )
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO raw_events ({', '.join(columns)}) VALUES ({marks})"
    return lambda rows: connection.executemany(statement, rows), connection.commit


def _postgresql(url: str, columns: Sequence[str]) -> tuple[Insert, Commit]:
    connection = psycopg.connect(url)
    connection.execute("DROP TABLE IF EXISTS raw_events")
    connection.execute("CREATE TABLE raw_events (LIKE saga_events INCLUDING DEFAULTS INCLUDING INDEXES)")
    connection.commit()
    marks = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO raw_events ({', '.join(columns)}) VALUES ({marks})"

    def insert(rows: Sequence[tuple[Any, ...]]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    return insert, connection.commit


if __name__ == "__main__":
    answer_all(_ready)
