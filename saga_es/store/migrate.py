"""Alembic, driven from inside: the migrations travel with the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from saga_es.errors import NotMigrated, StoreUnavailable
from saga_es.store.database import Database
from saga_es.store.log import Log
from saga_es.store.views import Views

VERSION_TABLE = "saga_alembic_version"
"""Apart from the application's own `alembic_version`: both may live in one database."""

LOCK_PATIENCE_S = 60
_LOCK = 5_347_261
"""Any number, the same in all our processes: the name of the lock under which one of them migrates."""


def _location() -> Path:
    package = Path(__file__).resolve().parents[1]
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """The Alembic configuration, bound to a connection if one is given."""
    made = Config()
    made.set_main_option("script_location", str(_location()))
    made.attributes["connection"] = connection
    return made


def head() -> str:
    """The revision this version of the package needs."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    assert newest is not None, "the package carries its migrations"
    return newest


def current(connection: Connection) -> str | None:
    """The revision the database is at; None when it was never migrated."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def found(database: Database) -> str | None:
    """The revision the database is at; looking makes no SQLite file where there is none.

    Raises:
        StoreUnavailable: It did not answer.
    """
    file = Path(database.url.database or "")
    if database.kind == "sqlite" and file.parent.is_dir() and not file.exists():
        return None
    with database.reading() as connection:
        return current(connection)


def upgrade(database: Database, log: Log, views: Views) -> list[str]:
    """Bring the database to this version; the names of the view tables that had to be made.

    Of processes that start at once, one migrates and the others wait for it.
    """
    with database.writing() as connection, _turn(connection):
        is_new = current(connection) is None  # then views that are there are of a log that is gone
        command.upgrade(config(connection), "head")
        return views.create(connection, log, anew=is_new)


def check(database: Database) -> None:
    """Make sure that the database is at this version.

    Raises:
        NotMigrated: It is not.
        StoreUnavailable: It did not answer.
    """
    at = found(database)
    if at != head():
        raise NotMigrated(at, head())


@contextmanager
def _turn(connection: Connection) -> Iterator[None]:
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE_S}s'")  # another may be migrating
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield
        case "mysql" | "mariadb":
            # DDL commits here, so a lock of the transaction would be gone at once: this one is the connection's.
            name = f"saga_es_{_LOCK}"
            if connection.scalar(sa.select(sa.func.get_lock(name, LOCK_PATIENCE_S))) != 1:
                raise StoreUnavailable(
                    f"another process has been migrating for {LOCK_PATIENCE_S} s; try again when it is done"
                )
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.release_lock(name)))
        case _:  # SQLite: BEGIN IMMEDIATE is the lock
            yield
