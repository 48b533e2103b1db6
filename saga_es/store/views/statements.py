"""The statements that keep views, built once each: building costs more than executing."""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa

from saga_es.store.drivers.driver import Driver
from saga_es.store.drivers.writes import THIS_ROW


@cache
def upsert(table: sa.Table, driver: Driver) -> sa.Insert:
    """Insert rows; an existing row is a fault of the view: it is overwritten, and never stops the log."""
    return driver.insert_or_change(table, lambda new: {c.name: new[c.name] for c in table.columns})


@cache
def adding(table: sa.Table, driver: Driver) -> sa.Insert:
    """Insert rows, or add their values to the rows of the same key."""
    sums = [column for column in table.columns if not column.primary_key]
    return driver.insert_or_change(table, lambda new: {c.name: c + new[c.name] for c in sums})


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
