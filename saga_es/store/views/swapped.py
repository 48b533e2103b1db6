"""Whether a replay has put other tables in the places of views while somebody looked at them in a snapshot.

What such a table holds was committed after the snapshot was taken: PostgreSQL shows it as empty or as not there, MySQL
refuses to read it. On SQLite a snapshot has the old tables to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.error_codes import ErrorCodes


class Swapped(Exception):
    """The tables are others now: take another snapshot."""


@contextmanager
def swaps_told(errors: ErrorCodes) -> Iterator[None]:
    """Raise `Swapped` where the database refuses to read a table because it is another one."""
    try:
        yield
    except NoSuchTableError as error:  # it was there a moment ago, when we asked
        raise Swapped from error
    except DBAPIError as error:
        if errors.code(error.orig) in errors.other_table:
            raise Swapped from error
        raise


def refuse_swapped(connection: Connection, names: Iterable[str]) -> None:
    """Raise `Swapped` if a table that was looked at is not that of the snapshot."""
    driver = driver_of(connection.dialect)
    if any(driver.is_swapped(connection, name) for name in names):
        raise Swapped
