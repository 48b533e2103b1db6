"""The migration of a database, compared with what this version of saga_es knows.

The id of a migration is a number, and perhaps the number of the oldest migration with whose code processes can still
work: `0006_since_0003`. So each process can tell whether it may work on a database that a newer version has migrated.
A migration without the second number is for its own version and newer ones alone.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store import registry
from saga_es.store.drivers.names import full
from saga_es.store.tables import VERSION_TABLE

HEAD = "0007_since_0003"
"""The migration this version of the package needs: the newest in the folder `migrations`."""

FIRST_RELEASED = "0003"
"""What a worker knows whose row does not say: 0.1.0 did not write it."""

_SINCE = "_since_"
_REVISION: sa.Select[Any] = sa.select(sa.column("version_num", sa.String)).select_from(sa.table(VERSION_TABLE))


def number(revision: str) -> str:
    """The number of a migration; numbers are compared as texts."""
    return revision.partition(_SINCE)[0]


def since(revision: str) -> str:
    """The number of the oldest migration whose code can work on a database at this one."""
    return revision.partition(_SINCE)[2] or revision


def is_newer(revision: str | None) -> bool:
    """Whether a newer version of saga_es has migrated the database."""
    return revision is not None and number(revision) > number(HEAD)


def suits(revision: str | None) -> bool:
    """Whether this version can work on a database at a migration, which may be of a newer version."""
    return revision is not None and since(revision) <= number(HEAD) <= number(revision)


def current(connection: Connection) -> str | None:
    """The migration the database is at; None when it was never migrated."""
    if not registry.exists(connection, VERSION_TABLE):
        return None
    is_alembics = "version_num" in registry.columns_in(connection, full(connection, VERSION_TABLE))
    return connection.scalar(_REVISION) if is_alembics else None
