"""Grants: the SQL for a role that runs sagas, and can neither change the log nor remove from it.

The triggers refuse that to everybody; whoever owns the tables could drop the triggers. So the owner migrates (and
archives), and the application connects as a role that may append to the log and read it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from saga_es.errors import SettingsError
from saga_es.store.admin.migrate import VERSION_TABLE
from saga_es.store.database import Database
from saga_es.store.tables import saga_archives, saga_bells, saga_checkpoints, saga_events, saga_workers
from saga_es.store.views.kinds import Projection

DEFAULT_ROLE = "saga_es_app"
APPEND, READ, CHANGE = "SELECT, INSERT", "SELECT", "SELECT, INSERT, UPDATE, DELETE"


def grants(database: Database, views: Sequence[Projection], role: str = DEFAULT_ROLE) -> list[str]:
    """The statements, for the owner of the tables to run once the database is migrated.

    Args:
        database: Which one; it is asked for its schema.
        views: The views of the application, which the role keeps.
        role: Who gets them; it must exist.

    Raises:
        SettingsError: The database knows no roles.
        StoreUnavailable: It did not answer.
    """
    quote = database.engine.dialect.identifier_preparer.quote
    match database.kind:
        case "postgresql":
            with database.reading() as connection:
                schema = quote(str(connection.scalar(sa.select(sa.func.current_schema()))))
            sequence = f"{schema}.{saga_events.name}_position_seq"
            yours = quote(role)
            return [
                f"GRANT USAGE ON SCHEMA {schema} TO {yours}",
                f"GRANT USAGE ON SEQUENCE {sequence} TO {yours}",
                *(f"GRANT {what} ON {schema}.{quote(table)} TO {yours}" for table, what in _tables(views)),
            ]
        case "mysql":
            schema, account = quote(database.url.database or ""), _account(role)
            return [f"GRANT {what} ON {schema}.{quote(table)} TO {account}" for table, what in _tables(views)]
        case _:
            raise SettingsError(["SQLite knows no roles: whoever may write the file may write the log"])


def _tables(views: Sequence[Projection]) -> Iterator[tuple[str, str]]:
    yield saga_events.name, APPEND
    yield saga_archives.name, READ
    yield VERSION_TABLE, READ
    for table in (saga_workers, saga_bells, saga_checkpoints):
        yield table.name, CHANGE
    for view in views:
        yield view.table.name, CHANGE


def _account(role: str) -> str:
    name, _, host = role.partition("@")
    return f"{_text(name)}@{_text(host or '%')}"


def _text(words: str) -> str:
    escaped = words.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
