"""Measures how long a page of the list of sagas takes, for each filter, with a million sagas.

    python -m benchmarks.lists                       # SQLite, PostgreSQL and MariaDB: about five minutes
    python -m benchmarks.lists --sagas 100000 sqlite # for a first look

The rows of the views are generated, and always the same. The servers are those of the tests. Each filter reads its
first page of 50 and a page from the middle, 30 times each. The table shows the best time and the median in
milliseconds.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import click
import sqlalchemy as sa
from rich.console import Console
from rich.progress import track
from rich.table import Table

from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import cursor_behind, page
from saga_es.store.views.saga_view import sagas
from saga_es.store.views.tags import saga_tags
from tests.support.databases import KINDS, fresh_database

START = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = {
    "COMPLETED": 9200,
    "COMPENSATED": 500,
    "FAILED": 100,
    "IN_PROGRESS": 100,
    "COMPENSATING": 50,
    "PENDING": 50,
}
NAMES = {"create-event": 6000, "order": 3990, "refund": 10}
UNFINISHED = {"IN_PROGRESS", "COMPENSATING", "PENDING"}
TIMES = 30
CHUNK = 10_000

FILTERS: list[dict[str, Any]] = [
    {},
    {"status": "COMPLETED"},
    {"status": "FAILED"},
    {"name": "order"},
    {"name": "refund"},
    {"name": "no such name"},
    {"name": "refund", "status": "COMPLETED"},
    {"name": "refund", "status": "PENDING"},
    {"name": "order", "status": "FAILED"},
    {"tags": (("shop", "3"),)},
    {"tags": (("shop", "3"),), "status": "FAILED"},
    {"tags": (("shop", "3"),), "name": "refund"},
    {"tags": (("customer", "7"), ("shop", "3"))},
    {"tags": (("shop", "3"), ("customer", "7"))},
    {"older_than_s": 400_000},
    {"newer_than_s": 1000, "status": "COMPENSATED"},
    {"error": "number 7"},
    {"error": "no such error"},
    {"error": "no such error", "status": "FAILED"},
    {"error": "number 7", "name": "refund"},
    {"paused": True},
    {"paused": True, "name": "refund"},
    {"paused": False},
    {"paused": False, "status": "PENDING"},
    {"parent": "saga-00000000"},
    {"parent": "saga-00000000", "status": "FAILED"},
    {"parent": "no such saga"},
]


def rows(many: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The rows of so many sagas, and those of their tags."""
    dice = Random(1)  # noqa: S311 (it gives the same rows each time)
    for number in range(many):
        status = dice.choices(list(STATUSES), STATUSES.values())[0]  # type: ignore[arg-type]  # its values are a list, too
        name = dice.choices(list(NAMES), NAMES.values())[0]  # type: ignore[arg-type]
        is_bad = status in {"COMPENSATED", "FAILED", "COMPENSATING"}
        error = f"HTTP 409: the venue number {dice.randrange(10_000)} is taken on that evening" if is_bad else None
        at = START + timedelta(seconds=number)
        known = {
            "saga_id": f"saga-{number:08}",
            "name": name,
            "plan_id": f"plan-{name}",
            "status": status,
            "owner": "worker-1",
            "paused": status in UNFINISHED and not dice.randrange(100),
            "parent": f"saga-{number // 300_000 * 300_000:08}" if not dice.randrange(500) else None,
            "current_step": "venue" if status in UNFINISHED else None,
            "error": error,
            "has_error": error is not None,
            "created_at": at,
            "updated_at": at,
        }
        tags = {"customer": str(dice.randrange(100_000))} if not dice.randrange(3) else {}
        tags |= {"shop": str(dice.randrange(10))} if not dice.randrange(3) else {}
        yield (
            {name: known[name] for name in sagas.columns.keys()},  # noqa: SIM118 (a table's columns are no mapping)
            [{"saga_id": known["saga_id"], "name": n, "value": v, "created_at": at} for n, v in tags.items()],
        )


def fill(database: Database, many: int) -> None:
    """Put the rows into the views."""
    some: list[dict[str, Any]] = []
    tags: list[dict[str, Any]] = []
    for row, its_tags in track(rows(many), f"filling {database.driver.name}", many, console=Console(stderr=True)):
        some.append(row)
        tags += its_tags
        if len(some) == CHUNK:
            _insert(database, some, tags)
            some, tags = [], []
    _insert(database, some, tags)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        match database.driver.name:
            case "postgresql":
                connection.exec_driver_sql("VACUUM ANALYZE")
            case "mysql":
                connection.exec_driver_sql("ANALYZE TABLE sagas, saga_tags")
            case _:  # no ANALYZE: in production, SQLite has no statistics
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(database: Database, some: list[dict[str, Any]], tags: list[dict[str, Any]]) -> None:
    with database.writing() as connection:
        for table, rows_ in ((sagas, some), (saga_tags, tags)):
            if rows_:
                connection.execute(sa.insert(table), rows_)


def measure(database: Database, wanted: dict[str, Any], many: int) -> tuple[int, float, float]:
    """The number of rows on the first page, and the best and the median of the slower page, in milliseconds."""
    chosen = sagas_where(SagaFilter(**wanted), START + timedelta(seconds=many))
    middle = cursor_behind(START + timedelta(seconds=many // 2), "saga-")
    found, slower = 0, (0.0, 0.0)
    for cursor in (None, middle):
        times_ms: list[float] = []
        for _ in range(TIMES):
            begun = perf_counter()
            with database.reading() as connection:
                read = page(connection, chosen, 50, cursor)
            times_ms.append((perf_counter() - begun) * 1000)
            found = found or len(read.rows)
        slower = max(slower, (min(times_ms), median(times_ms)))
    return found, *slower


@click.command(help=__doc__)
@click.argument("kinds", nargs=-1, type=click.Choice(KINDS))
@click.option("--sagas", "many", default=1_000_000, show_default=True, help="How many sagas there are.")
def main(kinds: tuple[str, ...], many: int) -> None:
    """Fill the databases, measure each filter, and print the table."""
    table = Table("filter", box=None)
    cells: dict[str, list[str]] = {str(wanted): [] for wanted in FILTERS}
    for kind in kinds or KINDS:
        table.add_column(f"{kind}: rows, best, median (ms)", justify="right")
        with tempfile.TemporaryDirectory() as folder, fresh_database(kind, Path(folder)) as url:
            node = Node(Settings.load({"database_url": url}, environ={}))
            migrate.upgrade(node.database, node.store.log, node.views)
            fill(node.database, many)
            for wanted in FILTERS:
                found, best_ms, median_ms = measure(node.database, wanted, many)
                cells[str(wanted)].append(f"{found:>3} {best_ms:>8.2f} {median_ms:>8.2f}")
                click.echo(f"{kind} {wanted} {cells[str(wanted)][-1]}", err=True)
            node.database.close()
    for filter_, columns in cells.items():
        table.add_row(filter_, *columns)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    main()
