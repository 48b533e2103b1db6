"""For the application's own Alembic on the same database: which tables are saga_es's, and none of its business.

In `env.py`: `context.configure(…, include_name=include_name, include_object=include_object)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from alembic import context
from sqlalchemy.engine import Connection

from saga_es.store.tables import VERSION_TABLE, metadata, saga_tables

__all__ = ["include_name", "include_object"]

TABLE = "table"

_OF_0_1_0 = {*map(str, metadata.tables), "sagas", "saga_tags"}
"""The tables of a database that has no registry yet; views of the application are not among them."""

_KNOWN: WeakKeyDictionary[Connection, dict[str | None, set[str]]] = WeakKeyDictionary()
"""Alembic asks once for each table."""

_COLUMNS = {column.name for column in saga_tables.columns}


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Whether a table that was found in the database is the application's.

    Args:
        name: The name of a table, or of anything else, which is passed over.
        type_: `table`, `schema`, `column` and so on.
        parent_names: The schema of the table.
    """
    if type_ != TABLE or name is None:
        return True
    return name not in tables_of_saga_es(context.get_bind(), parent_names.get("schema_name"))


def include_object(
    object_: sa.schema.SchemaItem,
    name: str | None,
    type_: str,
    reflected: bool,  # noqa: FBT001 (Alembic calls it so)
    compare_to: object,
) -> bool:
    """Whether a table in the metadata of the application is not that of one of its views.

    Args:
        object_: The table, or anything else, which is passed over.
        name: Its name.
        type_: `table`, `column`, `index` and so on.
        reflected: Whether it was found in the database.
        compare_to: What it is compared with.
    """
    del name, reflected, compare_to
    return type_ != TABLE or not object_.info.get("saga_es")


def tables_of_saga_es(connection: Connection, schema: str | None = None) -> set[str]:
    """The names of all tables that saga_es made in a schema, with whatever prefixes."""
    known = _KNOWN.setdefault(connection, {})
    if schema not in known:
        known[schema] = _found(connection, schema)
    return known[schema]


def _found(connection: Connection, schema: str | None) -> set[str]:
    inspector = sa.inspect(connection)
    there = inspector.get_table_names(schema)
    registries = [
        name
        for name in there
        if name.endswith(saga_tables.name)
        and {column["name"] for column in inspector.get_columns(name, schema)} >= _COLUMNS
    ]
    made: set[str] = set()
    for name in registries:
        registry = sa.table(name, sa.column("name", sa.String), schema=schema)
        made |= set(connection.scalars(sa.select(registry.c.name)))
    if not registries and VERSION_TABLE in there:
        return _OF_0_1_0 | {str(VERSION_TABLE)}
    return made
