"""Troubles of a database, made on a real one, and ended again: locked, full, read only, and what else it may say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from saga_es.store.database import Database
from saga_es.store.drivers.url import parse_url

SAYS = {
    "postgresql": {
        "the disk is full": "53100",
        "read only": "25006",
        "a deadlock": "40P01",
        "a serialization failure": "40001",
        "a lock was not given in time": "55P03",
        "the statement was cancelled": "57014",
        "it shuts down": "57P01",
    },
    "mariadb": {
        "the disk is full": "1021",
        "the table is full": "1114",
        "read only": "1290",
        "a deadlock": "1213",
        "a lock was not given in time": "1205",
        "the statement took too long": "1969",
    },
}
"""What a server can say of itself, by its own codes."""

LOCKS = {
    "sqlite": ("BEGIN EXCLUSIVE", "ROLLBACK"),
    "postgresql": ("LOCK TABLE saga_events, saga_workers IN ACCESS EXCLUSIVE MODE", "ROLLBACK"),
    "mysql": ("LOCK TABLES saga_events WRITE, saga_workers WRITE", "UNLOCK TABLES"),
}


@contextmanager
def by_hand(url: str, *, autocommit: bool = True) -> Iterator[Connection]:
    """A connection that has nothing to do with ours."""
    engine = sa.create_engine(parse_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            if autocommit:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")  # noqa: PLW2901 (the same one)
            yield connection
    finally:
        engine.dispose()


@contextmanager
def moved_away(url: str, which: str = "") -> Iterator[None]:
    """A file of the database is somewhere else, under the process that has it open: the main one, `-wal` or `-shm`."""
    file = Path(f"{parse_url(url).database}{which}")
    elsewhere = file.rename(f"{file}.elsewhere")
    try:
        yield
        assert not file.exists(), "nobody has made a new one, which would be taken for it"
    finally:
        elsewhere.rename(file)


@contextmanager
def replaced(url: str, which: str = "") -> Iterator[None]:
    """Where the file was there is another one."""
    with moved_away(url, which):
        file = Path(f"{parse_url(url).database}{which}")
        file.touch()
        try:
            yield
            assert file.stat().st_size == 0, "nobody has written to it"
        finally:
            file.unlink()


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody else holds the tables, and does not let go."""
    kind = parse_url(url).get_backend_name().replace("mariadb", "mysql")
    lock, unlock = LOCKS[kind]
    with by_hand(url, autocommit=kind == "sqlite") as connection:
        connection.exec_driver_sql(lock)
        yield
        connection.exec_driver_sql(unlock)


@contextmanager
def says(url: str, code: str) -> Iterator[None]:
    """The server refuses every append, with the code of one of its own troubles."""
    if url.startswith("postgresql"):
        body = f"BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '{code}'; END"
        make = [
            f"CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            "CREATE TRIGGER trouble BEFORE INSERT ON saga_events FOR EACH STATEMENT EXECUTE FUNCTION say()",
        ]
        end = ["DROP TRIGGER trouble ON saga_events", "DROP FUNCTION say()"]
    else:
        body = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'trouble'"
        make = [f"CREATE TRIGGER trouble BEFORE INSERT ON saga_events FOR EACH ROW {body}"]
        end = ["DROP TRIGGER trouble"]
    with by_hand(url) as connection:
        for statement in make:
            connection.exec_driver_sql(statement)
        yield
        for statement in end:
            connection.exec_driver_sql(statement)


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """PostgreSQL: all connections are closed, and those made anew can only read, for as long as they live."""
    name = parse_url(url).database
    set_to = f'ALTER DATABASE "{name}" SET default_transaction_read_only'
    with by_hand(url) as connection:
        connection.exec_driver_sql(f"{set_to} = on")
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        yield
        connection.exec_driver_sql(f"{set_to} = off")


@contextmanager
def full(database: Database) -> Iterator[None]:
    """SQLite: the file may not grow any more."""
    pages = 0

    def limit(driver: Any, *_: object) -> None:
        driver.execute(f"PRAGMA max_page_count = {pages or 2**31 - 2}")

    with database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
    event.listen(database.engine, "checkout", limit)
    database._direct.close()  # the writer takes a connection again, which is limited
    yield
    pages = 0
    database._direct.close()  # as above
