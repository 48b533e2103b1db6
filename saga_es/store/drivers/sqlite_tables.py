"""SQLite: new tables take the places of old ones, and tables are dropped, while others read and write."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Connection

ROWS_AT_ONCE = 20_000
_INDEX = re.compile(r"(CREATE (?:UNIQUE )?INDEX )(\S+)( ON .*)", flags=re.DOTALL)


_RELATIONS = sa.text(
    "SELECT lower(name) AS name, type FROM sqlite_schema WHERE type <> 'trigger' AND lower(name) IN :names"
).bindparams(sa.bindparam("names", expanding=True))


def relations(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """The kinds of the tables, SQL views and indexes of these names; SQLite ignores case."""
    rows = connection.execute(_RELATIONS, {"names": [name.lower() for name in names]})
    found = {row.name: str(row.type) for row in rows}
    return {name: found[name.lower()] for name in names if name.lower() in found}


_TRIGGER = sa.text("SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND lower(name) = lower(:name)")


def table_of_trigger(connection: Connection, name: str) -> str | None:
    """The table on which a trigger fires."""
    found: str | None = connection.scalar(_TRIGGER, {"name": name})
    return found


def prepare_swap(connection: Connection, names: Sequence[str], suffix: str, old: str) -> Callable[[], None]:
    """Put tables in the places of the tables without the suffix; SQLite needs no preparation."""
    return partial(_swap, connection, names, suffix, old)


def _swap(connection: Connection, names: Sequence[str], suffix: str, old: str) -> None:
    there = relations(connection, names)
    quote = connection.dialect.identifier_preparer.quote
    # Without it, SQL views that users made on the table would move away with the old table.
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    for name in there:
        connection.exec_driver_sql(f"ALTER TABLE {quote(name)} RENAME TO {quote(name + old)}")
    for name in names:
        connection.exec_driver_sql(f"ALTER TABLE {quote(name + suffix)} RENAME TO {quote(name)}")
    # SQLite cannot rename an index, and making it again would take seconds. Its name is in the schema table only, and
    # is changed there by the procedure that SQLite documents (lang_altertable.html).
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
        if written is None:  # a user's own index, in a form that we do not parse: it is dropped
            connection.exec_driver_sql(f"DROP INDEX {quote(name)}")
            continue
        connection.execute(
            sa.text("UPDATE sqlite_schema SET name = :new, sql = :sql WHERE type = 'index' AND name = :name"),
            {"name": name, "new": renamed(name), "sql": written[1] + quote(renamed(name)) + written[3]},
        )


def drop(connection: Connection, name: str) -> None:
    """Drop a table in pieces: SQLite reads every page that it drops, and blocks all writers meanwhile."""
    quote = connection.dialect.identifier_preparer.quote
    with connection.begin():
        indexes = [str(index["name"]) for index in sa.inspect(connection).get_indexes(name)]
    for index in indexes:
        with connection.begin():
            connection.exec_driver_sql(f"DROP INDEX {quote(index)}")
    some = f"DELETE FROM {quote(name)} WHERE rowid IN (SELECT rowid FROM {quote(name)} LIMIT {ROWS_AT_ONCE})"
    is_empty = False
    while not is_empty:
        with connection.begin():
            is_empty = connection.exec_driver_sql(some).rowcount < ROWS_AT_ONCE
    with connection.begin():
        connection.exec_driver_sql(f"DROP TABLE {quote(name)}")
