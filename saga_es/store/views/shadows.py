"""Tables that stand beside a view's own: built there out of sight, and put in its place by one step.

A reader sees the old table or the new one, and a statement that somebody prepared finds the new one by its name. The
names of indexes and constraints come out as they were. Whatever is left of an interrupted build has a name that
nobody reads, and is cleared by the next.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.views.kinds import Projection

NEW = "__new"
"""Behind a view's name: the table that is being built."""

OLD = "__old"
"""Behind a view's name: the table that was, until it is dropped."""

UNTIL = "__until"
"""Behind a view's name: the view as of an earlier position, for whoever wants to look at it."""

ROWS_AT_ONCE = 20_000
_INDEX = re.compile(r"(CREATE (?:UNIQUE )?INDEX )(\S+)( ON .*)", flags=re.DOTALL)

P = TypeVar("P", bound=Projection)


def shadow(view: P, suffix: str, dialect: str, *prefixes: str) -> P:
    """The same view, kept in a table of another name.

    Args:
        view: Which.
        suffix: Behind its name; and behind those of its indexes, but on MySQL, where an index has its name within the
            table, and keeps it when the table gets another.
        dialect: The database's.
        prefixes: Of the table: `TEMPORARY`.
    """
    table = view.table.to_metadata(sa.MetaData(), name=view.name + suffix)
    table._prefixes = list(prefixes)  # noqa: SLF001 (there is no other way to say so of a copy)
    all_named: list[sa.Index | sa.Constraint] = [*table.indexes, *table.constraints]
    for named in all_named:
        if named.name:
            plain = str(named.name).replace(suffix, "")  # that of an index of one column is made of the table's
            named.name = sa.quoted_name(plain + ("" if dialect in {"mysql", "mariadb"} else suffix), quote=None)
    return dataclasses.replace(view, table=table)


def swapping(connection: Connection, names: Sequence[str], suffix: str = NEW, old: str = OLD) -> list[str]:
    """The statements that put tables in the places of those without the suffix, which may be missing.

    They are made beforehand, so that nobody waits for it; nothing is changed yet.

    Args:
        connection: In a transaction.
        names: Of the views.
        suffix: What the tables have behind the names.
        old: What those that go have behind theirs on MySQL; on PostgreSQL they are dropped.
    """
    quote = connection.dialect.identifier_preparer.quote
    match connection.dialect.name:
        case "postgresql":
            return ["; ".join(text for name in names for text in _swapping_on_postgresql(connection, name, suffix))]
        case "sqlite":
            return []
        case _:
            there = set(sa.inspect(connection).get_table_names())
            moves = [f"{quote(name)} TO {quote(name + old)}" for name in names if name in there]
            moves += [f"{quote(name + suffix)} TO {quote(name)}" for name in names]
            return [f"RENAME TABLE {', '.join(moves)}"]


def swap(connection: Connection, names: Sequence[str], statements: Iterable[str]) -> None:
    """Put the new tables in the places of the old ones; all of them or none.

    On PostgreSQL and SQLite this takes place when the transaction commits; on MySQL at once, and it ends the
    transaction.

    Args:
        connection: In a transaction in which nobody else appends.
        names: Of the views.
        statements: From `swapping`.
    """
    if connection.dialect.name == "sqlite":
        _swap_on_sqlite(connection, names)
    for text in statements:
        connection.exec_driver_sql(text)


_CONSTRAINTS = sa.text(
    "SELECT conname FROM pg_constraint WHERE conrelid = CAST(:here AS regclass) AND strpos(conname, :suffix) > 0"
)
_INDEXES = sa.text(
    "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid "
    "WHERE indrelid = CAST(:here AS regclass) AND strpos(relname, :suffix) > 0 "
    "AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)"
)


def _swapping_on_postgresql(connection: Connection, name: str, suffix: str) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote
    here = {"here": quote(name + suffix), "suffix": suffix}
    yield f"DROP TABLE IF EXISTS {quote(name)}"
    yield f"ALTER TABLE {quote(name + suffix)} RENAME TO {quote(name)}"
    for constraint in connection.scalars(_CONSTRAINTS, here).all():  # and the indexes that bear their names
        renamed = f"RENAME CONSTRAINT {quote(constraint)} TO {quote(constraint.replace(suffix, ''))}"
        yield f"ALTER TABLE {quote(name)} {renamed}"
    for index in connection.scalars(_INDEXES, here).all():
        yield f"ALTER INDEX {quote(index)} RENAME TO {quote(index.replace(suffix, ''))}"


def _swap_on_sqlite(connection: Connection, names: Sequence[str], suffix: str = NEW, old: str = OLD) -> None:
    there = set(sa.inspect(connection).get_table_names()) & set(names)
    quote = connection.dialect.identifier_preparer.quote
    # Without it, what a user's own SQL view says of the table would move away with the old one.
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    for name in there:
        connection.exec_driver_sql(f"ALTER TABLE {quote(name)} RENAME TO {quote(name + old)}")
    for name in names:
        connection.exec_driver_sql(f"ALTER TABLE {quote(name + suffix)} RENAME TO {quote(name)}")
    # SQLite cannot rename an index, and to make it again would take seconds. What it is called stands only in the
    # schema table, and is changed there by the procedure that SQLite documents (lang_altertable.html).
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for name in there:
        _rename_indexes(connection, name + old, lambda index: index + old)
    for name in names:
        _rename_indexes(connection, name, lambda index: index.replace(suffix, ""))
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")
    connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")


def _rename_indexes(connection: Connection, table: str, renamed: Callable[[str], str]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    indexes = sa.text("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = :table AND sql <> ''")
    for name, text in connection.execute(indexes, {"table": table}).all():
        written = _INDEX.fullmatch(text)
        if written is None:  # somebody's own, written in a way that we do not know: it goes
            connection.exec_driver_sql(f"DROP INDEX {quote(name)}")
            continue
        connection.execute(
            sa.text("UPDATE sqlite_schema SET name = :new, sql = :sql WHERE type = 'index' AND name = :name"),
            {"name": name, "new": renamed(name), "sql": written[1] + quote(renamed(name)) + written[3]},
        )


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
            _drop(connection, name)


def _drop(connection: Connection, name: str) -> None:
    table = connection.dialect.identifier_preparer.quote(name)
    if connection.dialect.name == "sqlite":
        # SQLite reads every page of what it drops, and nobody else writes meanwhile: so it is dropped in pieces.
        with connection.begin():
            indexes = [str(index["name"]) for index in sa.inspect(connection).get_indexes(name)]
        for index in indexes:
            with connection.begin():
                connection.exec_driver_sql(f"DROP INDEX {connection.dialect.identifier_preparer.quote(index)}")
        some = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} LIMIT {ROWS_AT_ONCE})"
        is_empty = False
        while not is_empty:
            with connection.begin():
                is_empty = connection.exec_driver_sql(some).rowcount < ROWS_AT_ONCE
    with connection.begin():
        connection.exec_driver_sql(f"DROP TABLE {table}")
