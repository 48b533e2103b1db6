"""The statements that views are kept with, built and compiled once each: that costs more than to execute them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.sql.compiler import SQLCompiler


def run(connection: Connection, statement: sa.Insert | sa.Update | sa.Delete, rows: Sequence[dict[str, Any]]) -> None:
    """Execute a statement with rows, all of the same columns.

    SQLAlchemy prepares each row anew, which takes as long as the database takes for it; what it does is done here for
    all rows at once.

    Args:
        connection: In a transaction.
        statement: One of those below.
        rows: Their values are changed into what the driver takes.
    """
    text, processors, arranged = _compiled(statement, connection.dialect, tuple(rows[0]))
    for name, process in processors.items():
        for row in rows:
            row[name] = process(row[name])
    connection.exec_driver_sql(text, list(map(arranged, rows)))


@cache
def _compiled(
    statement: sa.Insert | sa.Update | sa.Delete, dialect: Dialect, columns: tuple[str, ...]
) -> tuple[str, dict[str, Callable[[Any], Any]], Callable[[dict[str, Any]], Any]]:
    """The text, what some columns are processed with, and how a row is arranged for the driver."""
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    assert isinstance(compiled, SQLCompiler)
    found: dict[str, Any] = dict(compiled._bind_processors)  # noqa: SLF001 (what SQLAlchemy itself does with each row)
    processors = {name: process for name, process in found.items() if name in columns}
    names = compiled.positiontup
    arranged: Callable[[dict[str, Any]], Any]
    match names:
        case None:
            arranged = _as_it_is
        case [name]:
            arranged = lambda row: (row[name],)  # noqa: E731 (a tuple of one, which itemgetter does not make)
        case _:
            arranged = itemgetter(*names)
    return str(compiled), processors, arranged


def _as_it_is(row: dict[str, Any]) -> dict[str, Any]:
    return row


@cache
def upsert(table: sa.Table, dialect: str) -> sa.Insert:
    """Insert rows; one that should not be there yet is a fault of the view, gives way, and never stops the log."""
    match dialect:
        case "mysql" | "mariadb":
            statement = mysql.insert(table)
            return statement.on_duplicate_key_update({c.name: statement.inserted[c.name] for c in table.columns})
        case _:
            insert = _insert(table, dialect)
            return insert.on_conflict_do_update(
                index_elements=list(table.primary_key.columns),
                set_={c.name: insert.excluded[c.name] for c in table.columns},
            )


@cache
def adding(table: sa.Table, dialect: str) -> sa.Insert:
    """Insert rows, or add what they hold to the rows of the same key."""
    sums = [column for column in table.columns if not column.primary_key]
    match dialect:
        case "mysql" | "mariadb":
            statement = mysql.insert(table)
            return statement.on_duplicate_key_update({c.name: c + statement.inserted[c.name] for c in sums})
        case _:
            insert = _insert(table, dialect)
            return insert.on_conflict_do_update(
                index_elements=list(table.primary_key.columns),
                set_={c.name: c + insert.excluded[c.name] for c in sums},
            )


def _insert(table: sa.Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


@cache
def update(table: sa.Table, columns: tuple[str, ...]) -> sa.Update:
    """Set these columns of the row with the key `this_row`."""
    (key,) = table.primary_key.columns
    return sa.update(table).where(key == sa.bindparam("this_row")).values({c: sa.bindparam(c) for c in columns})


@cache
def deletion(table: sa.Table) -> sa.Delete:
    """Delete the row with the key `this_row`."""
    (key,) = table.primary_key.columns
    return sa.delete(table).where(key == sa.bindparam("this_row"))
