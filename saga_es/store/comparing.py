"""Comparing views with what the log says they should be, without changing anything.

All is read in one snapshot, in which a view and the log are as far as each other; what the view should be is built in
a temporary table of the connection, which goes with it. Nobody who reads or appends waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import ProjectionFailed
from saga_es.store import checkpoints
from saga_es.store.building import Builder, Told
from saga_es.store.database import Database
from saga_es.store.log import Log
from saga_es.store.rebuild import is_as_written
from saga_es.store.shadows import shadow
from saga_es.store.tables import JsonText
from saga_es.store.views import Projection

DRY = "__dry"
"""Behind a view's name: the temporary table."""

EXAMPLES = 3


@dataclass(frozen=True)
class Comparison:
    """How a view differs from the fold of the log.

    Attributes:
        position: How far the fold went: to the end of the log, or to the checkpoint of a view that follows.
        rows: How many rows there should be.
        missing: Rows that should be there, and are not.
        surplus: Rows that should not be there, and are.
        different: Rows that are there and should be, and differ in a column.
        examples: Keys of some such rows.
        problem: Why it cannot be compared: there is no such table, or its columns are not those of this version.
        failed: The event that the view fails on; then it could not be made anew.
    """

    view: Projection
    position: int
    rows: int
    missing: int = 0
    surplus: int = 0
    different: int = 0
    examples: tuple[str, ...] = ()
    problem: str | None = None
    failed: ProjectionFailed | None = None

    @property
    def is_equal(self) -> bool:
        """Whether the view is what it should be."""
        return not (self.missing or self.surplus or self.different or self.problem or self.failed)


def compare(
    database: Database, log: Log, views: Iterable[Projection], told: Told, until: int | None = None
) -> list[Comparison]:
    """Compare views with the fold of the log, each as a whole.

    Args:
        database: Where they are.
        log: The log.
        views: Which views.
        told: Told the position that has been reached, and the last one there is.
        until: Compare with the fold up to this position (inclusive), and not with that of the whole log.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    with _snapshot(database) as connection:
        stands = {name: checkpoint.position for name, checkpoint in checkpoints.read(connection).items()}
        groups: dict[int | None, list[Projection]] = {}
        for view in views:
            groups.setdefault(until if until is not None else stands.get(view.name), []).append(view)
        return [
            comparison
            for end, group in groups.items()
            for comparison in _compared(connection, database, log, group, told, end)
        ]


@contextmanager
def _snapshot(database: Database) -> Iterator[Connection]:
    with database.reading() as connection:
        if database.kind != "sqlite":
            connection.execution_options(isolation_level="REPEATABLE READ")
        connection.detach()  # so that temporary tables go with it
        yield connection


def _compared(
    connection: Connection, database: Database, log: Log, views: list[Projection], told: Told, until: int | None
) -> Iterator[Comparison]:
    builder = Builder(connection, database, log, views, DRY, told)
    tables = {view.name: shadow(view, DRY, "TEMPORARY").table for view in views}
    for table in tables.values():
        table.indexes.clear()
        table.create(connection)
    position, _ = builder.catch_up(until)
    inspector = sa.inspect(connection)
    for view in views:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(tables[view.name])) or 0
        failed = builder.failures.get(view.name)
        if failed is not None:
            yield Comparison(view, position, rows, failed=failed)
        elif not inspector.has_table(view.name):
            yield Comparison(view, position, rows, problem="there is no such table")
        elif not is_as_written(view.table, inspector):
            yield Comparison(view, position, rows, problem="the table is that of another version")
        else:
            yield _differences(connection, view, position, rows, tables[view.name])


def _differences(connection: Connection, view: Projection, position: int, rows: int, wanted: sa.Table) -> Comparison:
    there = view.table
    keys = [column.name for column in there.primary_key.columns]
    same_row = sa.and_(*(wanted.c[name] == there.c[name] for name in keys))
    differs = sa.or_(
        sa.false(),
        *(
            _exact(wanted.c[c.name], connection).is_distinct_from(_exact(c, connection))
            for c in there.columns
            if c.name not in keys
        ),
    )
    missing = sa.select(*(wanted.c[name] for name in keys)).where(
        ~sa.exists(sa.select(sa.literal(1)).select_from(there).where(same_row))
    )
    surplus = sa.select(*(there.c[name] for name in keys)).where(
        ~sa.exists(sa.select(sa.literal(1)).select_from(wanted).where(same_row))
    )
    different = sa.select(*(there.c[name] for name in keys)).select_from(there.join(wanted, same_row)).where(differs)
    queries = (missing, surplus, different)
    more, fewer, other = [connection.scalar(sa.select(sa.func.count()).select_from(q.subquery())) or 0 for q in queries]
    examples = [row for query in queries for row in connection.execute(query.order_by(*keys).limit(EXAMPLES))]
    return Comparison(view, position, rows, more, fewer, other, tuple(_key(row) for row in examples[:EXAMPLES]))


def _key(row: sa.Row[Any]) -> str:
    return "/".join(str(value) for value in row)


def _exact(column: sa.Column[Any], connection: Connection) -> sa.ColumnElement[Any]:
    """The column, byte for byte: MySQL would take A for a, and PostgreSQL does not compare JSON."""
    is_json = isinstance(column.type, (sa.JSON, JsonText))
    if connection.dialect.name == "postgresql":
        return sa.cast(column, sa.Text) if is_json else column
    is_text = is_json or isinstance(column.type, (sa.String, sa.types.TypeDecorator))
    return sa.cast(column, sa.BINARY) if connection.dialect.name != "sqlite" and is_text else column
