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


def prepare_swap(connection: Connection, names: Sequence[str], suffix: str, _old: str) -> Callable[[], None]:
    """All statements of a swap, as one text; the old tables are dropped."""
    text = "; ".join(statement for name in names for statement in _statements(connection, name, suffix))
    return lambda: connection.exec_driver_sql(text).close()


def _statements(connection: Connection, name: str, suffix: str) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote
    here = {"here": quote(name + suffix), "suffix": suffix}
    yield f"DROP TABLE IF EXISTS {quote(name)}"
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
