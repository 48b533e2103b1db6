"""Tables that stand beside a view's own: built there out of sight, and put in its place by one step.

A reader sees the old table or the new one, and a statement that somebody prepared finds the new one by its name. The
names of indexes and constraints come out as they were. Whatever is left of an interrupted build has a name that
nobody reads, and is cleared by the next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.drivers.driver import Driver, Swap, driver_of
from saga_es.store.views.kinds import Projection

NEW = "__new"
"""Behind a view's name: the table that is being built."""

OLD = "__old"
"""Behind a view's name: the table that was, until it is dropped."""

UNTIL = "__until"
"""Behind a view's name: the view as of an earlier position, for whoever wants to look at it."""

P = TypeVar("P", bound=Projection)


def shadow(view: P, suffix: str, driver: Driver, *prefixes: str) -> P:
    """The same view, kept in a table of another name.

    Args:
        view: Which.
        suffix: Behind its name; and behind those of its indexes, unless they are the table's own and stay the same
            when the table gets another name.
        driver: The database's.
        prefixes: Of the table: `TEMPORARY`.
    """
    table = view.table.to_metadata(sa.MetaData(), name=view.name + suffix)
    table._prefixes = list(prefixes)  # noqa: SLF001 (there is no other way to say so of a copy)
    all_named: list[sa.Index | sa.Constraint] = [*table.indexes, *table.constraints]
    for named in all_named:
        if named.name:
            plain = str(named.name).replace(suffix, "")  # that of an index of one column is made of the table's
            named.name = sa.quoted_name(plain + ("" if driver.index_names_are_the_tables_own else suffix), quote=None)
    return dataclasses.replace(view, table=table)


def swapping(connection: Connection, names: Sequence[str]) -> Swap:
    """What puts the new tables in the places of those in service, which may be missing; all of them or none.

    It is prepared so that nobody waits for the preparation, and is to be called in a transaction in which nobody else
    appends. Where tables change in transactions, this takes place at the commit; elsewhere at once, and ends it.

    Args:
        connection: In a transaction.
        names: Of the views.
    """
    return driver_of(connection.dialect).prepare_swap(connection, names, NEW, OLD)


def clear(connection: Connection, names: Iterable[str], *suffixes: str) -> None:
    """Drop what stands beside views, if anything does; in transactions of its own.

    Args:
        connection: In no transaction.
        names: Of the views.
        suffixes: Which tables.
    """
    with connection.begin():
        there = set(sa.inspect(connection).get_table_names())
    for name in (name + suffix for name in names for suffix in suffixes):
        if name in there:
            driver_of(connection.dialect).drop_table(connection, name)
