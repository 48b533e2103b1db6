"""A fresh, empty database for one test, on each kind of server we support; dropped when the tests are over.

To make a database costs PostgreSQL a quarter of a second and more, so there one is emptied after its test and
lent to the next. To migrate one costs MariaDB half a second, a file for each trigger: there one that was migrated, and
is built as before, is emptied and lent to the next that is to be migrated. On SQLite a file that was migrated once is
copied. Where the servers come from, and what becomes of a test whose server is missing, is said in `tests/support`.
"""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from saga_es.store.tables import VERSION_TABLE, saga_tables
from tests.support import servers
from tests.support.left_out import left_out

KINDS = ("sqlite", "postgresql", "mariadb")
"""All that is tested on a database is tested on each of these. To add a database is to add a file to `store/drivers`,
to add its kind here, and to say in `fresh_database` how one is made."""

_FREE: dict[str, list[str]] = {"postgresql": [], servers.SECOND: []}
"""PostgreSQL databases that are empty, and nobody's, by the server."""

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
        kind: One of `KINDS`, or `servers.SECOND`.
        folder: For files.
        migrated: Migrates the database at a URL, always to the same tables. It may have been done already to the
            one that is lent; it need not be, so who wants it migrated migrates it.
    """
    match kind:
        case "sqlite":
            return _sqlite(folder, migrated)
        case "postgresql" | servers.SECOND:
            return _postgresql(kind)
        case _:
            return _mariadb() if migrated is None else _migrated_mariadb(migrated)


@cache
def _migrated_sqlite(migrated: Callable[[str], None]) -> Path:
    """A file that was migrated, and that nobody has open."""
    folder = TemporaryDirectory(prefix="saga-es-migrated-")
    atexit.register(folder.cleanup)
    file = Path(folder.name) / "log.sqlite"
    migrated(f"sqlite:///{file}")
    assert not Path(f"{file}-wal").exists(), "all of it is in the one file"
    return file


@contextmanager
def _sqlite(folder: Path, migrated: Callable[[str], None] | None) -> Iterator[str]:
    name = f"{uuid4().hex}.sqlite"
    if migrated is not None:
        shutil.copy(_migrated_sqlite(migrated), folder / name)
    yield f"sqlite:///{folder / name}"
    for left in folder.glob(f"{name}*"):
        left.unlink()


@contextmanager
def _postgresql(kind: str) -> Iterator[str]:
    server, free = _server(kind), _FREE[kind]
    name = free.pop() if free else _created(kind, server)
    yield server.set(database=name).render_as_string(hide_password=False)
    _order(server.set(database=name), *_EMPTY)
    free.append(name)


@contextmanager
def _mariadb() -> Iterator[str]:
    server = _server("mariadb")
    name = _created("mariadb", server)
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _order(server, f"DROP DATABASE {name}")


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
        atexit.register(_drop, server, f"DROP DATABASE IF EXISTS {name}")
        with _connected(server.set(database=name)) as connection:
            tables = frozenset(connection.exec_driver_sql("SHOW TABLES").scalars())
            return cls(name, tables, _built(connection))

    def is_emptied(self) -> bool:
        """Whether it is again as it was when it was migrated."""
        with _connected(_server("mariadb").set(database=self.name)) as connection:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = 5")
            found = {*connection.exec_driver_sql("SHOW TABLES").scalars()}
            for table in found - {VERSION_TABLE, saga_tables.name}:
                how = "TRUNCATE" if table in self.tables else "DROP"
                connection.exec_driver_sql(f"{how} TABLE `{table}`")
            gone = sa.delete(saga_tables).where(saga_tables.c.name.not_in(self.tables))
            connection.execute(gone)
            connection.commit()
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
            _order(server, f"DROP DATABASE {lent.name}")


def _server(kind: str) -> URL:
    server = servers.found(kind)
    if not server.url:
        left_out(server.name, server.how)
    return sa.make_url(server.url)


def _created(kind: str, server: URL) -> str:
    name = f"saga_es_test_{uuid4().hex}"
    _order(server, f"CREATE DATABASE {name}")
    if kind in _FREE:
        atexit.register(_drop, server, f"DROP DATABASE {name} WITH (FORCE)")
    return name


def _drop(server: URL, statement: str) -> None:
    with suppress(pytest.fail.Exception):  # the tests are over, and have said what there was to say
        _order(server, statement)


def _order(server: URL, *statements: str) -> None:
    with _connected(server) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@contextmanager
def _connected(server: URL) -> Iterator[sa.Connection]:
    engine = servers.engine(server)
    reason = None
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
    finally:
        engine.dispose()
    if reason is not None:
        pytest.fail(f"a server did not do as asked at {server!r}: {reason}", pytrace=False)
