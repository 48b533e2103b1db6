"""Grants: the SQL for a role that runs sagas, and can neither change nor remove what is in the log.

The triggers refuse changes to everybody, but the owner of the tables could drop the triggers. So the owner migrates
and archives, and the application connects as a role that may only append to the log and read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saga_es.store.database import Database
from saga_es.store.tables import (
    VERSION_TABLE,
    saga_archives,
    saga_bells,
    saga_checkpoints,
    saga_events,
    saga_subjects,
    saga_tables,
    saga_workers,
)
from saga_es.store.views.kinds import Projection

DEFAULT_ROLE = "saga_es_app"
APPEND, READ, CHANGE = "SELECT, INSERT", "SELECT", "SELECT, INSERT, UPDATE, DELETE"


def grants(database: Database, views: Sequence[Projection], role: str = DEFAULT_ROLE) -> list[str]:
    """The statements that the owner of the tables runs after the migration.

    Args:
        database: The database; its schema is read from it.
        views: The application's views; the role may change their tables.
        role: The role that receives the grants; it must exist.

    Raises:
        SettingsError: The database has no roles.
        StoreUnavailable: The database did not answer.
    """
    return database.driver.grants(database.reading, _tables(views), role)


def _tables(views: Sequence[Projection]) -> Iterator[tuple[str, str]]:
    yield saga_events.name, APPEND
    yield saga_archives.name, READ
    yield VERSION_TABLE, READ
    yield saga_tables.name, READ
    for table in (saga_workers, saga_bells, saga_checkpoints, saga_subjects):
        yield table.name, CHANGE
    for view in views:
        yield view.table.name, CHANGE
