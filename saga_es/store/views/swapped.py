"""Whether a replay has swapped tables while a snapshot was reading them.

The rows of such a table were committed after the snapshot: PostgreSQL shows the table as empty or missing, MySQL
refuses to read it. On SQLite a snapshot keeps the old tables to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.error_codes import ErrorCodes
from saga_es.store.drivers.names import full


class Swapped(Exception):
    """The tables were swapped: take another snapshot."""


@contextmanager
def swaps_told(errors: ErrorCodes) -> Iterator[None]:
    """Raise `Swapped` where the database refuses to read a table because it was swapped."""
    try:
        yield
    except NoSuchTableError as error:  # it existed a moment ago
        raise Swapped from error
    except DBAPIError as error:
        if errors.code(error.orig) in errors.other_table:
            raise Swapped from error
        raise


def refuse_swapped(connection: Connection, names: Iterable[str]) -> None:
    """Raise `Swapped` if a table that was read differs from the snapshot's."""
    driver = driver_of(connection.dialect)
    if any(driver.is_swapped(connection, full(connection, name)) for name in names):
        raise Swapped
