"""A fresh, empty database for one test, on each kind of server we support; dropped when the tests are over.

To make a database costs PostgreSQL a quarter of a second and more, so there one is emptied after its test and
lent to the next. To migrate one costs MariaDB half a second, a file for each trigger: there one that was migrated, and
is built as before, is emptied and lent to the next that is to be migrated. A server that cannot be reached fails the
test: a suite that skips what it cannot see proves nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from saga_es.store.admin.migrate import VERSION_TABLE

KINDS = ("sqlite", "postgresql", "mariadb")

_SERVERS = {
    "postgresql": ("SAGA_ES_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("SAGA_ES_TEST_MARIADB", "mysql://root@127.0.0.1:3306/"),
}
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_FREE: list[str] = []
"""PostgreSQL databases that are empty, and nobody's."""

_MIGRATED: dict[Callable[[str], None], list[_Migrated]] = {}
"""MariaDB databases that are migrated and otherwise empty, and nobody's, by what migrated them."""

_OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
_EMPTY = (
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}",
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA public",
)


def fresh_database(
    kind: str, folder: Path, migrated: Callable[[str], None] | None = None
) -> AbstractContextManager[str]:
    """The URL of an empty database; what was made in it is gone when the block ends.

    Args:
        kind: One of `KINDS`.
        folder: For files.
        migrated: Migrates the database at a URL, always to the same tables. It may have been done already to the
            one that is lent; it need not be, so who wants it migrated migrates it.
    """
    match kind:
        case "sqlite":
            return _sqlite(folder)
        case "postgresql":
            return _postgresql()
        case _:
            return _mariadb() if migrated is None else _migrated_mariadb(migrated)


@contextmanager
def _sqlite(folder: Path) -> Iterator[str]:
    name = f"{uuid4().hex}.sqlite"
    yield f"sqlite:///{folder / name}"
    for left in folder.glob(f"{name}*"):
        left.unlink()


@contextmanager
def _postgresql() -> Iterator[str]:
    server = _server("postgresql")
    name = _FREE.pop() if _FREE else _created("postgresql", server)
    yield server.set(database=name).render_as_string(hide_password=False)
    _order("postgresql", server.set(database=name), *_EMPTY)
    _FREE.append(name)


@contextmanager
def _mariadb() -> Iterator[str]:
    server = _server("mariadb")
    name = _created("mariadb", server)
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _order("mariadb", server, f"DROP DATABASE {name}")


@dataclass(frozen=True)
class _Migrated:
    """A migrated database on MariaDB, and how it was built."""

    name: str
    tables: frozenset[str]
    built: tuple[object, ...]

    @classmethod
    def now(cls, name: str, migrated: Callable[[str], None]) -> _Migrated:
        server = _server("mariadb")
        migrated(server.set(database=name).render_as_string(hide_password=False))
        atexit.register(_drop, "mariadb", server, f"DROP DATABASE IF EXISTS {name}")
        with _connected("mariadb", server.set(database=name)) as connection:
            tables = frozenset(connection.exec_driver_sql("SHOW TABLES").scalars())
            return cls(name, tables, _built(connection))

    def is_emptied(self) -> bool:
        """Whether it is again as it was when it was migrated."""
        with _connected("mariadb", _server("mariadb").set(database=self.name)) as connection:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = 5")
            found = {*connection.exec_driver_sql("SHOW TABLES").scalars()}
            for table in found - {VERSION_TABLE}:
                how = "TRUNCATE" if table in self.tables else "DROP"
                connection.exec_driver_sql(f"{how} TABLE `{table}`")
            return found >= self.tables and _built(connection) == self.built


def _built(connection: sa.Connection) -> tuple[object, ...]:
    """Tables and triggers, to the letter, when a trigger was made, and the version that the database says it has."""

    def told(statement: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]

    tables = [told(f"SHOW CREATE TABLE `{name}`") for (name,) in told("SHOW TABLES")]
    return (tables, told("SHOW TRIGGERS"), told(f"SELECT * FROM {VERSION_TABLE}"))


@contextmanager
def _migrated_mariadb(migrated: Callable[[str], None]) -> Iterator[str]:
    server = _server("mariadb")
    free = _MIGRATED.setdefault(migrated, [])
    lent = free.pop() if free else _Migrated.now(_created("mariadb", server), migrated)
    try:
        yield server.set(database=lent.name).render_as_string(hide_password=False)
    finally:
        if lent.is_emptied():
            free.append(lent)
        else:
            _order("mariadb", server, f"DROP DATABASE {lent.name}")


def _server(kind: str) -> URL:
    variable, default = _SERVERS[kind]
    return sa.make_url(os.environ.get(variable) or default)


def _created(kind: str, server: URL) -> str:
    name = f"saga_es_test_{uuid4().hex}"
    _order(kind, server, f"CREATE DATABASE {name}")
    if kind == "postgresql":
        atexit.register(_drop, kind, server, f"DROP DATABASE {name} WITH (FORCE)")
    return name


def _drop(kind: str, server: URL, statement: str) -> None:
    with suppress(pytest.fail.Exception):  # the tests are over, and have said what there was to say
        _order(kind, server, statement)


def _order(kind: str, server: URL, *statements: str) -> None:
    with _connected(kind, server) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@contextmanager
def _connected(kind: str, server: URL) -> Iterator[sa.Connection]:
    driver = _DRIVERS.get(server.drivername, server.drivername)
    # psycopg and PyMySQL both know `connect_timeout`: a server that is away is to be noticed soon.
    engine = sa.create_engine(
        server.set(drivername=driver),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={"connect_timeout": 5},
    )
    reason = None
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
    finally:
        engine.dispose()
    if reason is not None:
        cure = f"start the server, or name one in {_SERVERS[kind][0]}"
        pytest.fail(f"{kind} did not do as asked at {server!r}: {reason}; {cure}", pytrace=False)
