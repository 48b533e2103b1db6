"""Keeping everybody from appending for a moment, so that what is made from the log is as far as the log.

Whoever appends waits; nobody is refused. A transaction that has appended and is still open is waited for, but not for
long: then all wait behind it, and it is better to let go and to come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

WAIT_MS = 200
"""How long PostgreSQL waits for a lock, while others wait behind us."""

WAIT_S = 1
"""The same on MySQL, which counts in seconds."""

_POSTGRESQL_BUSY = {"55P03", "40P01"}
_MYSQL_BUSY = {1205, 1213}


def hold_appends(connection: Connection) -> None:
    """Keep everybody else from appending until the transaction of the connection ends; on SQLite it does anyway."""
    if connection.dialect.name == "postgresql":
        # The log before the views: whoever appends takes them in this order.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_MS}ms'; LOCK TABLE saga_events IN SHARE MODE")


@contextmanager
def appends_held(holder: Connection) -> Iterator[None]:
    """Keep everybody from appending while the block runs: for MySQL, where a change of tables ends the transaction.

    Args:
        holder: A connection that does nothing else.
    """
    holder.exec_driver_sql("LOCK TABLES saga_events READ")
    try:
        yield
    finally:
        holder.exec_driver_sql("UNLOCK TABLES")


def be_impatient(connection: Connection) -> None:
    """Let MySQL wait no longer for tables on this connection than for the log."""
    if connection.dialect.name not in {"postgresql", "sqlite"}:
        with connection.begin():
            connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {WAIT_S}")


def is_busy(error: DBAPIError) -> bool:
    """Whether somebody else was in the way, and it may go well the next time."""
    state = getattr(error.orig, "sqlstate", None)
    number = (*getattr(error.orig, "args", ()), None)[0]
    return state in _POSTGRESQL_BUSY or number in _MYSQL_BUSY or number == "database is locked"


def sync_later(connection: Connection) -> None:
    """Let SQLite not wait for the disk at each commit of this connection, which is in no transaction.

    What is being built is not there for anybody yet. A power cut takes the last commits back, as if they had not been;
    it cannot take one back and leave what somebody else committed behind it.
    """
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.dbapi_connection  # SQLAlchemy would begin a transaction
        driver.execute("PRAGMA synchronous = NORMAL").close()
