"""Migrating the database to the version of the package.

Alembic migrates, and the migrations are in the package. A process that has nothing to migrate does not import Alembic,
which takes a fifth of the time of all imports.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import Denied, MigrationDenied, NotMigrated, ProjectionFailed
from saga_es.logs import logger
from saga_es.store import registry
from saga_es.store.admin.ownership import settle
from saga_es.store.database import Database
from saga_es.store.drivers.names import full
from saga_es.store.log.log import Log
from saga_es.store.schema_lock import schema_lock
from saga_es.store.tables import VERSION_TABLE
from saga_es.store.views import checkpoints
from saga_es.store.views.inline import refused
from saga_es.store.views.kinds import Views
from saga_es.store.views.rebuild import Rebuilding, create, not_as_written, rebuild, settle_swaps

HEAD = "0005"
"""The revision this version of the package needs: the newest in the folder `migrations`."""

_REVISION: sa.Select[Any] = sa.select(sa.column("version_num", sa.String)).select_from(sa.table(VERSION_TABLE))


def head() -> str:
    """The revision this version of the package needs."""
    return HEAD


def current(connection: Connection) -> str | None:
    """The revision the database is at; None when it was never migrated."""
    if not registry.exists(connection, VERSION_TABLE):
        return None
    is_alembics = "version_num" in registry.columns_in(connection, full(connection, VERSION_TABLE))
    return connection.scalar(_REVISION) if is_alembics else None


def _migrate(connection: Connection) -> None:
    from saga_es.store.admin import revisions  # noqa: PLC0415  # Alembic is imported only where there is something to migrate

    revisions.upgrade(connection)


def found(database: Database) -> str | None:
    """The revision the database is at. It creates no database where there is none.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    if database.is_missing():
        return None
    with database.reading() as connection:
        return current(connection)


def upgrade(database: Database, log: Log, views: Views) -> list[str]:
    """Bring the database to this version; return the names of the view tables that were made.

    Of processes that start at the same time, one migrates and the others wait. A missing view that follows the log is
    made empty, and its projector fills it. An inline view that fails on an event is behind.

    Raises:
        NotOurs: Something that saga_es did not make has the name of a table of ours; nothing was changed.
        MigrationDenied: The role of the connection may not make what is missing.
        StoreUnavailable: The database did not answer.
    """
    try:
        return _upgrade(database, log, views)
    except Denied as error:
        raise MigrationDenied(found(database), head(), str(error)) from error


def _upgrade(database: Database, log: Log, views: Views) -> list[str]:
    with schema_lock(database) as connection:
        with connection.begin():
            revision = current(connection)
            settle(connection, list(views), is_to_migrate=revision != HEAD)
            if revision != HEAD:
                _migrate(connection)
            settle_swaps(connection)
            is_new = revision is None  # a table of a view is then of a log that is gone
            missing = list(views) if is_new else not_as_written(connection, views)
            made = [v for v in missing if (is_new or v.follows) and not registry.exists(connection, v.name)]
            create(connection, made)
        changed = [view for view in missing if view not in made]
        if changed:
            failed = _failures(rebuild(connection, database, log, changed))
            with connection.begin():
                for view in (view for view in changed if view.name in failed and not view.follows):
                    checkpoints.forget(connection, [view.name])
                    checkpoints.mark_behind(connection, view.name, refused(failed[view.name]))
            missing = [view for view in missing if view.name not in failed]
        return [view.name for view in missing]


def _failures(rebuilding: Rebuilding) -> dict[str, ProjectionFailed]:
    """The views that could not be made, with the reasons: each stops itself alone, and no saga."""
    for kind, many in rebuilding.unread.items():
        logger.error("views are made without events that this version cannot read", kind=kind, events=many)
    failed = {str(rebuilt.view.name): rebuilt.failed for rebuilt in rebuilding.views if rebuilt.failed is not None}
    for name, failure in failed.items():
        logger.error("a view could not be made anew", view=name, reason=str(failure))
    return failed


def check(database: Database) -> None:
    """Check that the database is at this version.

    Raises:
        NotMigrated: It is not.
        StoreUnavailable: It did not answer.
    """
    at = found(database)
    if at != head():
        raise NotMigrated(at, head())
