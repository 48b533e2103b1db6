"""Fresh databases for measurements: files in a temporary folder, and databases on a server that are dropped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from benchmarks.contender import Unable

SERVER = "SAGA_ES_TEST_POSTGRESQL"
DEFAULT_SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
KINDS = ("sqlite", "postgresql")
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@contextmanager
def fresh(kind: str, folder: Path | None = None) -> Iterator[str]:
    """The URL of an empty database. It is deleted when the block ends.

    Args:
        kind: One of `KINDS`.
        folder: The folder for SQLite's file; the system's temporary folder if left out.

    Raises:
        Unable: There is no server.
    """
    with _sqlite(folder) if kind == "sqlite" else _postgresql() as url:
        yield url


def server_version() -> str:
    """The version of the PostgreSQL server; empty if there is no server."""
    try:
        with psycopg.connect(_server(), connect_timeout=5) as connection:
            return f"PostgreSQL {connection.info.parameter_status('server_version')}"
    except psycopg.Error:
        return ""


@contextmanager
def _sqlite(within: Path | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="saga_es_bench_", dir=within, ignore_cleanup_errors=True) as folder:
        yield f"sqlite:///{Path(folder) / 'bench.db'}"


@contextmanager
def _postgresql() -> Iterator[str]:
    name = f"saga_es_bench_{uuid4().hex}"
    _execute(f"CREATE DATABASE {name}")
    try:
        yield _server().rpartition("/")[0] + f"/{name}"
    finally:
        _execute(f"DROP DATABASE {name} WITH (FORCE)")


def _execute(statement: str) -> None:
    try:
        with psycopg.connect(_server(), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)
    except psycopg.Error as error:
        raise Unable(f"PostgreSQL ({SERVER} names another server): {error}") from error


def _server() -> str:
    return os.environ.get(SERVER) or DEFAULT_SERVER
