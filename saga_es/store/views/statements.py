"""The statements that views are kept with, built once each: that costs more than to execute them."""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from saga_es.store.drivers.compiled import THIS_ROW


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
    """Set these columns of the row with the key `THIS_ROW`."""
    (key,) = table.primary_key.columns
    return sa.update(table).where(key == sa.bindparam(THIS_ROW)).values({c: sa.bindparam(c) for c in columns})


@cache
def deletion(table: sa.Table) -> sa.Delete:
    """Delete the row with the key `THIS_ROW`."""
    (key,) = table.primary_key.columns
    return sa.delete(table).where(key == sa.bindparam(THIS_ROW))
