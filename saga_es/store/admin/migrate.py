"""Migrating the database to the version of the package.

Alembic migrates, and the migrations are in the package. A process that has nothing to migrate does not import Alembic,
which takes a fifth of the time of all imports.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.engine import Connection

from saga_es.errors import Denied, MigrationDenied, NotMigrated, ProjectionFailed
from saga_es.logs import logger
from saga_es.store import registry
from saga_es.store.admin.contracting import refuse_to_shut_out
from saga_es.store.admin.ownership import settle
from saga_es.store.database import Database
from saga_es.store.log.log import Log
from saga_es.store.revision import HEAD, current, is_newer, suits
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views import checkpoints, mixed
from saga_es.store.views.inline import refused
from saga_es.store.views.kinds import Projection, Views
from saga_es.store.views.rebuild import Rebuilding, create, not_as_written, rebuild, settle_swaps


def head() -> str:
    """The migration this version of the package needs, by its id."""
    return HEAD


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


def upgrade(database: Database, log: Log, views: Views, *, lease_s: float = 10.0) -> list[str]:
    """Bring the database to this version; return the names of the view tables that were made.

    Of processes that start at the same time, one migrates and the others wait. A missing view that follows the log is
    made empty, and its projector fills it. An inline view that fails on an event is behind.

    Args:
        database: The database.
        log: Its log.
        views: The views of the application, and the built-in ones.
        lease_s: Seconds without a heartbeat after which a worker on another host counts as gone.

    Raises:
        StillNeeded: A migration would take away what living workers of earlier versions need; nothing was changed.
        NotOurs: Something that saga_es did not make has the name of a table of ours; nothing was changed.
        MigrationDenied: The role of the connection may not make what is missing.
        StoreUnavailable: The database did not answer.
    """
    try:
        return _upgrade(database, log, views, lease_s)
    except Denied as error:
        cure = "run `saga-es db upgrade` as the owner of the tables, then `saga-es db grants`"
        why = f"this version needs {HEAD}; {cure}: {error}"
        raise MigrationDenied(found(database), HEAD, why) from error


def _upgrade(database: Database, log: Log, views: Views, lease_s: float) -> list[str]:
    with schema_lock(database) as connection:
        with connection.begin():
            revision = current(connection)
            is_to_migrate = not _can_work(revision)
            if is_to_migrate:
                refuse_to_shut_out(connection, revision, lease_s)
            settle(connection, list(views), is_to_migrate=is_to_migrate)
            if is_to_migrate:
                _migrate(connection)
            settle_swaps(connection)
            is_new = revision is None  # a table of a view is then of a log that is gone
            due = mixed.due(connection, views)
            missing = list(views) if is_new else _to_make(connection, views, due)
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
        if due:
            with connection.begin():
                mixed.unmark(connection, (view for view in due if view in missing))
        return [view.name for view in missing]


def _can_work(revision: str | None) -> bool:
    """Whether the database has the tables of this version, or of a newer one beside which this version works.

    Raises:
        NotMigrated: It has the tables of a newer version, which are not for this one.
    """
    if is_newer(revision):
        if not suits(revision):
            raise NotMigrated(revision, HEAD)
        logger.warning("a newer version has migrated the database, and this one works beside it", at=revision, own=HEAD)
    return suits(revision)


def _to_make(connection: Connection, views: Views, due: Collection[Projection]) -> list[Projection]:
    """The views that have to be made; marks those that processes of several versions write at the same time."""
    newer = mixed.of_newer(connection, views)
    missing = [view for view in not_as_written(connection, views) if view not in newer]
    mixed.mark(connection, newer)
    if missing and mixed.earlier_workers(connection):
        mixed.mark(connection, missing)
    return [view for view in views if view in missing or view in due]


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
    if not suits(at):
        raise NotMigrated(at, HEAD)
