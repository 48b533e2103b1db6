"""Shadow tables: built beside a view's own table out of sight, and swapped in by one step.

A reader sees the old table or the new one, and a prepared statement finds the new table by its name. Indexes and
constraints keep their names. The remains of an interrupted build have names that nobody reads, and the next build
removes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store import registry
from saga_es.store.drivers.driver import Driver, Swap, driver_of
from saga_es.store.drivers.names import full, ours
from saga_es.store.views.kinds import NEW, OLD, Projection

P = TypeVar("P", bound=Projection)


def shadow(view: P, suffix: str, driver: Driver, *prefixes: str) -> P:
    """The same view, kept in a table of another name.

    Args:
        view: The view.
        suffix: The suffix of its name, and of the names of its indexes, unless index names are the table's own and do
            not change when the table is renamed.
        driver: The driver of the database.
        prefixes: Of the table: `TEMPORARY`.
    """
    table = view.table.to_metadata(sa.MetaData(), name=ours(view.name + suffix))
    table._prefixes = list(prefixes)  # noqa: SLF001 (there is no other way to say so of a copy)
    all_named: list[sa.Index | sa.Constraint] = [*table.indexes, *table.constraints]
    for named in all_named:
        if named.name:
            plain = str(named.name).replace(
                suffix, ""
            )  # SQLAlchemy makes it of the table's, for an index of one column
            named.name = sa.quoted_name(plain + ("" if driver.index_names_are_the_tables_own else suffix), quote=None)
    return dataclasses.replace(view, table=table)


def swapping(connection: Connection, names: Sequence[str]) -> Swap:
    """Prepares to put new tables in the places of those in service, which may be missing; all or none.

    Nobody waits for the preparation. Call the returned function in a transaction while appends are held back. Where
    tables change in transactions, the swap takes place at the commit; elsewhere at once, and ends the transaction.

    Args:
        connection: In a transaction.
        names: The names of the views.

    Raises:
        NotOurs: Something that we did not make has the name of one of the tables.
    """
    registry.claimed(connection, [name + suffix for name in names for suffix in ("", NEW, OLD)])
    in_database = [full(connection, name) for name in names]
    return driver_of(connection.dialect).prepare_swap(connection, in_database, NEW, OLD)


def clear(connection: Connection, names: Iterable[str], *suffixes: str) -> None:
    """Drop the shadow tables of views, if there are any that we made, in transactions of their own.

    Args:
        connection: In no transaction.
        names: The names of the views.
        suffixes: The suffixes of the tables.
    """
    with connection.begin():
        found = registry.look(connection, [name + suffix for name in names for suffix in suffixes])
    for name in (name for name, stranger in found.items() if stranger is None):
        drop(connection, name)


def drop(connection: Connection, name: str) -> None:
    """Drop a table that we made, and its records, in transactions of their own."""
    driver_of(connection.dialect).drop_table(connection, full(connection, name))
    with connection.begin():
        registry.forget(connection, name)
