"""Grants: the SQL for a role that can neither change nor remove what is in the log.

The triggers refuse changes to everybody, but the owner of the tables could drop the triggers. So the owner migrates
and archives; the application connects as a role that may only append to the log and read it. Who gives commands may
append, but run nothing; who looks may only read. A database cannot tell one event from another: whoever may append one,
may append each.
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
PLACES = "SELECT (name, position, updated_at)"
"""Of the checkpoints: the column `pending` also has the secrets that the processes share."""

READERS, COMMANDERS, RUNNERS = ("viewer", "auditor"), ("operator", "resolver"), ("service",)
ACCESS = (*RUNNERS, *COMMANDERS, *READERS)


def grants(
    database: Database, views: Sequence[Projection], role: str = DEFAULT_ROLE, access: str = RUNNERS[0]
) -> list[str]:
    """The statements that the owner of the tables runs after the migration.

    Args:
        database: The database; its schema is read from it.
        views: The application's views; the role may change their tables.
        role: The role that receives the grants; it must exist.
        access: What a connection of the role may do: one of `ACCESS`. Between those of one group (`READERS`,
            `COMMANDERS`, `RUNNERS`) the database makes no difference.

    Raises:
        SettingsError: The database has no roles.
        StoreUnavailable: The database did not answer.
    """
    return database.driver.grants(database.reading, list(_tables(views, access)), role)


def _tables(views: Sequence[Projection], access: str) -> Iterator[tuple[str, str]]:
    runs, appends = access in RUNNERS, access not in READERS
    yield saga_events.name, APPEND if appends else READ
    for name in (saga_archives.name, VERSION_TABLE, saga_tables.name):
        yield name, READ
    yield saga_workers.name, CHANGE if runs else READ
    yield saga_bells.name, CHANGE if appends else READ
    yield saga_checkpoints.name, CHANGE if runs else PLACES
    if appends:
        yield saga_subjects.name, CHANGE if runs else READ
    for view in views:
        yield view.table.name, CHANGE if appends else READ
