"""Whether a replay has put other tables in the places of views while somebody looked at them in a snapshot.

What such a table holds was committed after the snapshot was taken: PostgreSQL shows it as empty or as not there, MySQL
refuses to read it. On SQLite a snapshot has the old tables to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, NoSuchTableError

_MYSQL_OTHER_TABLE = {1146, 1412}
"""No such table; its definition has changed since the snapshot."""

_NOT_THE_SAME = sa.text(
    "SELECT 1 WHERE to_regclass(:quoted) IS NOT NULL "  # this asks for now, and what reads pg_class for the snapshot
    "AND NOT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass(:quoted) AND relname = :name)"
)


class Swapped(Exception):
    """The tables are others now: take another snapshot."""


@contextmanager
def swaps_told() -> Iterator[None]:
    """Raise `Swapped` where MySQL refuses to read a table because it is another one."""
    try:
        yield
    except NoSuchTableError as error:  # it was there a moment ago, when we asked
        raise Swapped from error
    except DBAPIError as error:
        if getattr(error.orig, "args", ())[:1] and error.orig.args[0] in _MYSQL_OTHER_TABLE:  # type: ignore[union-attr]
            raise Swapped from error
        raise


def refuse_swapped(connection: Connection, names: Iterable[str]) -> None:
    """Raise `Swapped` if a table that was looked at is not that of the snapshot."""
    if connection.dialect.name != "postgresql":
        return
    quote = connection.dialect.identifier_preparer.quote
    for name in names:
        if connection.scalar(_NOT_THE_SAME, {"quoted": quote(name), "name": name}):
            raise Swapped
