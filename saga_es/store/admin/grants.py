"""Grants: the SQL for a role that runs sagas, and can neither change the log nor remove from it.

The triggers refuse that to everybody; whoever owns the tables could drop the triggers. So the owner migrates (and
archives), and the application connects as a role that may append to the log and read it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    return database.driver.grants(database.reading, _tables(views), role)


def _tables(views: Sequence[Projection]) -> Iterator[tuple[str, str]]:
    yield saga_events.name, APPEND
    yield saga_archives.name, READ
    yield VERSION_TABLE, READ
    for table in (saga_workers, saga_bells, saga_checkpoints):
        yield table.name, CHANGE
    for view in views:
        yield view.table.name, CHANGE
