"""One at a time: of processes that want to change the tables at once, one does, and the others wait for it.

The lock is the operating system's or the server's, and goes with the process that held it, however that ends.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import StoreUnavailable
from saga_es.store.database import Database

TIMEOUT_S = 600
"""How long to wait at a server: as long as it takes to make views anew from some ten million events."""

LOCK = 5_347_261
"""Any number, the same in all our processes: the name of the lock on PostgreSQL, where it is the database's own."""

SQLITE_CACHE_KB = 16_384
"""What is written lies near what was written before: four times as much was no faster."""


@contextmanager
def schema_lock(database: Database) -> Iterator[Connection]:
    """A connection to change tables with, which nobody else has at the same time; in no transaction.

    Raises:
        StoreUnavailable: The database did not answer, or another process held the lock for too long.
    """
    with database.alone() as connection:
        match database.kind:
            case "sqlite":
                connection.exec_driver_sql(f"PRAGMA cache_size = -{SQLITE_CACHE_KB}")
                connection.rollback()
                with _locked(Path(f"{database.url.database}-turn")):
                    yield connection
            case "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TIMEOUT_S}s'")
                connection.execute(sa.select(sa.func.pg_advisory_lock(LOCK)))
                connection.rollback()  # the lock is the session's, and stays
                yield connection
            case _:
                # Such a lock is the whole server's, and has a name of at most 64 characters.
                name = f"saga_es {sha256(str(database.url.database).encode()).hexdigest()[:32]}"
                got = connection.scalar(sa.select(sa.func.get_lock(name, TIMEOUT_S)))
                connection.rollback()
                if got != 1:
                    raise StoreUnavailable(
                        f"another process has been changing the tables for {TIMEOUT_S} s; try again when it is done"
                    )
                yield connection


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        file = path.open("w")
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path}, whose lock says whose turn it is: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
