"""The schema lock: of processes that want to change the tables, one does, and the others wait.

The lock is the operating system's or the server's. It ends with the process that holds it, however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection

from saga_es.store.database import Database


@contextmanager
def schema_lock(database: Database) -> Iterator[Connection]:
    """A connection, in no transaction, that holds the schema lock while the block runs.

    Raises:
        StoreUnavailable: The database did not answer, or another process held the lock for too long.
    """
    with database.alone() as connection, database.driver.schema_lock(connection, database.url):
        yield connection
