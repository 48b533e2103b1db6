"""PostgreSQL: new tables take the places of old ones, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_CONSTRAINTS = sa.text(
    "SELECT conname FROM pg_constraint WHERE conrelid = CAST(:here AS regclass) AND strpos(conname, :suffix) > 0"
)
_INDEXES = sa.text(
    "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid "
    "WHERE indrelid = CAST(:here AS regclass) AND strpos(relname, :suffix) > 0 "
    "AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)"
)
_NOT_THE_SAME = sa.text(
    "SELECT 1 WHERE to_regclass(:quoted) IS NOT NULL "  # this sees the present, and pg_class the snapshot
    "AND NOT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass(:quoted) AND relname = :name)"
)


_HERE = "to_regnamespace(quote_ident(current_schema()))"
_RELATIONS = sa.text(
    "SELECT relname AS name, CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' "
    "WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' "
    "WHEN 'f' THEN 'foreign table' ELSE 'type' END AS kind "
    f"FROM pg_class WHERE relnamespace = {_HERE} AND relname IN :names "
    f"UNION ALL SELECT typname, 'type' FROM pg_type WHERE typnamespace = {_HERE} AND typrelid = 0 AND typname IN :names"
).bindparams(sa.bindparam("names", expanding=True))


def relations(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """The kinds of what has these names in the schema in which tables are made, and in no other of the search path."""
    if not names:  # an empty list has no type, and cannot be compared with a name
        return {}
    return {row.name: row.kind for row in connection.execute(_RELATIONS, {"names": list(names)})}


def prepare_swap(connection: Connection, names: Sequence[str], suffix: str, _old: str) -> Callable[[], None]:
    """All statements of a swap, as one text; the old tables are dropped."""
    there = relations(connection, names)  # another schema of the search path may have a table of the same name
    dropped = (f"DROP TABLE {connection.dialect.identifier_preparer.quote(name)}" for name in names if name in there)
    renamed = (statement for name in names for statement in _statements(connection, name, suffix))
    text = "; ".join((*dropped, *renamed))
    return lambda: connection.exec_driver_sql(text).close()


def _statements(connection: Connection, name: str, suffix: str) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote
    here = {"here": quote(name + suffix), "suffix": suffix}
    yield f"ALTER TABLE {quote(name + suffix)} RENAME TO {quote(name)}"
    for constraint in connection.scalars(_CONSTRAINTS, here).all():  # and the indexes of the same names
        renamed = f"RENAME CONSTRAINT {quote(constraint)} TO {quote(constraint.replace(suffix, ''))}"
        yield f"ALTER TABLE {quote(name)} {renamed}"
    for index in connection.scalars(_INDEXES, here).all():
        yield f"ALTER INDEX {quote(index)} RENAME TO {quote(index.replace(suffix, ''))}"


def is_swapped(connection: Connection, name: str) -> bool:
    """Whether the table was replaced: its rows were committed after the snapshot, which shows it empty."""
    quote = connection.dialect.identifier_preparer.quote
    return connection.scalar(_NOT_THE_SAME, {"quoted": quote(name), "name": name}) is not None


def drop(connection: Connection, name: str) -> None:
    """Drop a table."""
    with connection.begin():
        connection.exec_driver_sql(f"DROP TABLE {connection.dialect.identifier_preparer.quote(name)}")
