"""A fresh, empty database for one test, on each kind of server we support; dropped when the tests are over.

To make a database costs PostgreSQL a quarter of a second and more, so there one is emptied after its test and
lent to the next. A server that cannot be reached fails the test: a suite that skips what it cannot see proves nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

KINDS = ("sqlite", "postgresql", "mariadb")

_SERVERS = {
    "postgresql": ("SAGA_ES_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("SAGA_ES_TEST_MARIADB", "mysql://root@127.0.0.1:3306/"),
}
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_FREE: list[str] = []
"""PostgreSQL databases that are empty, and nobody's."""

_OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
_EMPTY = (
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}",
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA public",
)


def fresh_database(kind: str, folder: Path) -> AbstractContextManager[str]:
    """The URL of an empty database; what was made in it is gone when the block ends."""
    match kind:
        case "sqlite":
            return _sqlite(folder)
        case "postgresql":
            return _postgresql()
        case _:
            return _mariadb()


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


def _server(kind: str) -> URL:
    variable, default = _SERVERS[kind]
    return sa.make_url(os.environ.get(variable) or default)


def _created(kind: str, server: URL) -> str:
    name = f"saga_es_test_{uuid4().hex}"
    _order(kind, server, f"CREATE DATABASE {name}")
    if kind == "postgresql":
        atexit.register(_drop, server, name)
    return name


def _drop(server: URL, name: str) -> None:
    with suppress(pytest.fail.Exception):  # the tests are over, and have said what there was to say
        _order("postgresql", server, f"DROP DATABASE {name} WITH (FORCE)")


def _order(kind: str, server: URL, *statements: str) -> None:
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
            for statement in statements:
                connection.exec_driver_sql(statement)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
    finally:
        engine.dispose()
    if reason is not None:
        cure = f"start the server, or name one in {_SERVERS[kind][0]}"
        pytest.fail(f"{kind} did not do as asked at {server!r}: {reason}; {cure}", pytrace=False)
