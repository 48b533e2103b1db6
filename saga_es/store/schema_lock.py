"""One at a time: of processes that want to change the tables at once, one does, and the others wait for it.

The lock is the operating system's or the server's, and goes with the process that held it, however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection

from saga_es.store.database import Database


@contextmanager
def schema_lock(database: Database) -> Iterator[Connection]:
    """A connection to change tables with, which nobody else has at the same time; in no transaction.

    Raises:
        StoreUnavailable: The database did not answer, or another process held the lock for too long.
    """
    with database.alone() as connection, database.driver.schema_lock(connection, database.url):
        yield connection
