"""The registry: which tables saga_es made, each with its columns.

Owns: that no table is dropped, renamed or written anew because of its name alone. A table is ours if the registry has
its name and its columns. A table that is to be made is recorded first, in the same transaction: on MySQL, where the
table is committed at once, a crash leaves a record without a table, and never a table without a record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import NotOurs
from saga_es.store.drivers.driver import TABLE, driver_of
from saga_es.store.drivers.names import full
from saga_es.store.tables import saga_tables


class Kind(StrEnum):
    """The kind of a table of ours."""

    FIXED = "fixed"
    """Its columns grow with migrations, and none is ever removed."""

    VIEW = "view"
    SHADOW = "shadow"
    MIXED = "mixed"
    """No table, but a mark: processes of an earlier version, which do not know all columns, may have written a view."""


class Made(msgspec.Struct, frozen=True):
    """A table that saga_es made."""

    name: str
    kind: Kind
    columns: frozenset[str]
    made_at: datetime
    made_by: str

    def fits(self, columns: frozenset[str]) -> bool:
        """Whether a table with these columns can be the one that was made."""
        return self.columns <= columns if self.kind is Kind.FIXED else self.columns == columns


def made(connection: Connection) -> list[Made]:
    """All tables that saga_es made, by their names in the database. A table may be gone, or have two records."""
    is_table = saga_tables.c.kind != Kind.MIXED.value
    rows = connection.execute(
        sa.select(saga_tables).where(is_table).order_by(saga_tables.c.name, saga_tables.c.made_at)
    )
    return [
        Made(
            row.name,
            Kind(row.kind),
            msgspec.json.decode(row.columns, type=frozenset[str]),
            row.made_at,
            row.made_by,
        )
        for row in rows
    ]


# ── Whose is it? ─────────────────────────────────────────────────────────────────────────────────────────


def claimed(connection: Connection, names: Iterable[str]) -> set[str]:
    """Those names that tables of ours have; the others are free.

    Raises:
        NotOurs: Something that we did not make has one of the names.
    """
    found = look(connection, names)
    strangers = {full(connection, name): what for name, what in found.items() if what is not None}
    if strangers:
        raise NotOurs(strangers)
    return set(found)


def is_ours(connection: Connection, name: str) -> bool:
    """Whether there is a table of this name that we made."""
    return look(connection, [name]).get(name, "") is None


def look(connection: Connection, names: Iterable[str]) -> dict[str, str | None]:
    """What has these names: None for a table of ours, else a description of what is there."""
    by_name = {full(connection, name): name for name in names}
    kinds = relations(connection, by_name)
    records = made(connection) if kinds else []
    return {by_name[there]: _stranger(connection, there, kind, records) for there, kind in kinds.items()}


def relations(connection: Connection, names: Iterable[str]) -> Mapping[str, str]:
    """What has these names, as they are in the database, where our tables are: its kind, by name."""
    return driver_of(connection.dialect).relations(connection, list(names))


def _stranger(connection: Connection, name: str, kind: str, records: Iterable[Made]) -> str | None:
    if kind != TABLE:
        return an(kind)
    columns = columns_in(connection, name)
    if any(record.name == name and record.fits(columns) for record in records):
        return None
    return described(columns)


def an(kind: str) -> str:
    """A kind of relation, with its article."""
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def described(columns: Iterable[str]) -> str:
    """A table, by its columns."""
    return f"a table with the columns {', '.join(sorted(columns))}"


def columns_in(connection: Connection, name: str) -> frozenset[str]:
    """The columns of a table that exists, by its name in the database."""
    quoted = connection.dialect.identifier_preparer.quote(name)
    return frozenset(connection.exec_driver_sql(f"SELECT * FROM {quoted} WHERE 1 = 0").keys())


def columns_of(table: sa.Table) -> frozenset[str]:
    """The columns that the code has for a table."""
    return frozenset(str(column.name) for column in table.columns)


def exists(connection: Connection, name: str) -> bool:
    """Whether there is a table of this name, whoever made it, where our tables are."""
    there = full(connection, name)
    return relations(connection, [there]).get(there) == TABLE


# ── What we make ─────────────────────────────────────────────────────────────────────────────────────────


def record(connection: Connection, name: str, columns: Iterable[str], kind: Kind) -> None:
    """Record that we make a table, or that one is ours."""
    text = msgspec.json.encode(sorted(columns)).decode()
    row = {
        "name": full(connection, name),
        "fingerprint": sha256(text.encode()).hexdigest(),
        "kind": kind.value,
        "columns": text,
        "made_at": datetime.now(UTC),
        "made_by": _version(),
    }
    connection.execute(driver_of(connection.dialect).insert_unless_there(saga_tables), row)


def _version() -> str:
    try:
        return version("saga-es")
    except PackageNotFoundError:  # it runs from a folder that was not installed
        return "unknown"


def forget(connection: Connection, name: str, *, except_with: Iterable[str] | None = None) -> None:
    """Remove the records of a table, perhaps except that with these columns."""
    gone = (saga_tables.c.name == full(connection, name)) & (saga_tables.c.kind != Kind.MIXED.value)
    if except_with is not None:
        text = msgspec.json.encode(sorted(except_with)).decode()
        gone &= saga_tables.c.fingerprint != sha256(text.encode()).hexdigest()
    connection.execute(sa.delete(saga_tables).where(gone))


def copy(connection: Connection, name: str, other: str) -> None:
    """Record that a table may be found under another name, too, because it is about to be renamed."""
    for found in made(connection):
        if found.name == full(connection, name):
            record(connection, other, found.columns, Kind.SHADOW)
