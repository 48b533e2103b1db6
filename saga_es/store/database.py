"""One URL, one database: connections for reading, transactions for writing, and what each database needs for both."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import QueuePool

from saga_es.errors import NotOnStandby, RolledBack, StoreUnavailable
from saga_es.store.drivers import keepalive, standby
from saga_es.store.drivers.compiled import Write
from saga_es.store.drivers.connection import DriverConnection
from saga_es.store.drivers.sqlite_file import SqliteFile
from saga_es.store.drivers.url import parse_url

LOCK_TIMEOUT_S = 10
"""How long anybody waits for a lock that others hold."""

CLOSE_TIMEOUT_S = 1.0
"""How long to wait for those who use a connection, when all are closed."""


class Database:
    """A database reached by a URL: `sqlite:///file`, `postgresql://…`, `mysql://…` or `mariadb://…`.

    SQLite is opened in WAL mode with `synchronous=FULL`: a commit that was answered survives a power cut.

    Args:
        url: The URL; the driver part may be left out.
        pool_size: Connections kept open for reading.

    Raises:
        SettingsError: The URL cannot be used.
    """

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.url = parse_url(url)
        self._is_in_doubt = False
        self._file = SqliteFile()
        self.kind = self.url.get_backend_name().replace("mariadb", "mysql")
        self.engine = sa.create_engine(self.url, **self._options(pool_size))
        event.listen(self.engine, "handle_error", _give_up_connections)
        match self.kind:
            case "sqlite":
                event.listen(self.engine, "do_connect", self._check_file)  # SQLite would make an empty one
                event.listen(self.engine, "connect", _prepare_sqlite)
                event.listen(self.engine, "connect", lambda connection, _: self._file.opened(connection.cursor()))
                event.listen(self.engine, "begin", self._check_file)
                event.listen(self.engine, "begin", _begin_sqlite)
            case "postgresql":
                event.listen(self.engine, "connect", _prepare_postgresql)
            case _:
                event.listen(self.engine, "connect", lambda connection, _: keepalive.watch(connection, self.url))
        self._direct = DriverConnection(self.engine)
        self._lookup = DriverConnection(self.engine)
        self._writer = self.engine.execution_options(saga_es_writing=True)

    def __repr__(self) -> str:
        return f"Database({self.url.render_as_string(hide_password=True)!r})"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with; what it sees is one consistent snapshot on SQLite and MySQL.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with _translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state of the database however long it takes.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        options: dict[str, Any] = {} if self.kind == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        if self.kind == "postgresql":
            options["postgresql_readonly"] = True
        with self.reading() as connection:
            yield connection.execution_options(**options)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises.

        SQLAlchemy's `StatementError`s that are about the values, such as `IntegrityError`, pass through.

        Raises:
            RolledBack: The database gave it up for the sake of another; nothing took place.
            StoreUnavailable: The database did not answer. If that was at the commit, nobody knows whether it
                took place: read before you write again.
        """
        with _translated(), self._writer.connect() as connection:
            driver = connection.connection.driver_connection
            with connection.begin():
                yield connection
                standby.forget(driver)
            with self._doubted():
                standby.check(driver)

    def make_sure(self) -> None:
        """Wait until what was committed here has reached the standby too, where PostgreSQL said that it may not have.

        Raises:
            StoreUnavailable: It is still not known.
        """
        if self._is_in_doubt:
            with self.writing() as connection:  # its commit waits for all that was written before it
                connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'saga_es', 'are we in step?')")
            self._is_in_doubt = False

    @contextmanager
    def _doubted(self) -> Iterator[None]:
        try:
            yield
        except NotOnStandby:
            self._is_in_doubt = True
            raise

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A connection of one's own, in no transaction; what was set or locked on it ends with the block.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with _translated(), self.engine.connect() as connection:
            connection.detach()
            connection.execution_options(saga_es_writing=True)
            yield connection

    def transact(self, writes: Sequence[Write]) -> None:
        """Execute all writes, in this order, in one transaction, as fast as that can be done; all of them or none.

        SQLAlchemy's errors that are about the values, such as `IntegrityError`, pass through.

        Raises:
            StoreUnavailable: As for `writing`.
        """
        self._file.check()
        try:
            with _translated(), self._doubted():
                self._direct.transact(writes)
        except RolledBack:  # the connection is as good as before
            raise
        except StoreUnavailable as error:
            original = getattr(error.__cause__, "orig", error)
            if self.kind != "sqlite" or _sqlite_says(original, sqlite3.SQLITE_READONLY):
                self._direct.close()  # whatever the trouble was, the next connection does not bring it along
            raise

    def look_up(self, query: sa.Select[Any], values: Mapping[str, Any]) -> list[list[Any]]:
        """The rows of a short query that is asked often, at a tenth of what SQLAlchemy takes around it.

        Args:
            query: One that is kept: it is known by its identity.
            values: Of its parameters.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        try:
            with _translated():
                return self._lookup.fetch(query, values)
        except StoreUnavailable:
            self._lookup.close()
            raise

    def _check_file(self, *_: Any) -> None:
        self._file.check()

    def close(self) -> None:
        """Close all connections, apart from those on which somebody waits for an answer that does not come."""
        self._lookup.close(CLOSE_TIMEOUT_S)
        self._direct.close(CLOSE_TIMEOUT_S)
        self.engine.dispose()

    def _options(self, pool_size: int) -> dict[str, Any]:
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 40, "poolclass": QueuePool}
        match self.kind:
            case "sqlite":
                return {**options, "connect_args": {"check_same_thread": False}}
            case "postgresql":
                return {**options, "pool_pre_ping": True, "connect_args": keepalive.connect_arguments(self.url)}
            case _:
                timeouts = f"lock_wait_timeout = {LOCK_TIMEOUT_S}, innodb_lock_wait_timeout = {LOCK_TIMEOUT_S}"
                order = f"SET time_zone = '+00:00', {timeouts} {keepalive.MARIADB_WATCHES}"
                fixed = {"charset": "utf8mb4", "init_command": order}
                arguments = {**keepalive.connect_arguments(self.url), **fixed}
                return {**options, "pool_pre_ping": True, "pool_recycle": 3600, "connect_args": arguments}


@contextmanager
def _translated() -> Iterator[None]:
    """What SQLAlchemy raises, as `StoreUnavailable` where it is not about the values."""
    try:
        yield
    except (DBAPIError, sa.exc.TimeoutError) as error:
        if is_about_values(error):
            raise
        kind = RolledBack if _code(error) in ROLLED_BACK else StoreUnavailable
        raise kind(f"the database did not do as asked: {reason(error)}") from error


MYSQL_SYNTAX_ERROR = 1064

ROLLED_BACK: frozenset[object] = frozenset({"40001", "40P01", 1213, 1020})
"""Serialization failures and deadlocks, of PostgreSQL (SQLSTATE) and of MySQL and MariaDB (error numbers)."""

DENIED: frozenset[object] = frozenset({"42501", 1044, 1142, 1143, 1370})


def is_denied(error: StoreUnavailable) -> bool:
    """Whether who we connect as may not do what was asked."""
    return isinstance(error.__cause__, SQLAlchemyError) and _code(error.__cause__) in DENIED


def _code(error: SQLAlchemyError) -> object:
    """PostgreSQL's SQLSTATE, or the error number of MySQL; None where no server spoke."""
    original = getattr(error, "orig", None)
    return getattr(original, "sqlstate", None) or next(iter(getattr(original, "args", ())), None)


def is_about_values(error: SQLAlchemyError) -> bool:
    """Whether what was asked is at fault, and not the database: asking again would never help."""
    if isinstance(error, (IntegrityError, DataError)):
        return True
    # A driver that cannot send a value says so itself: no server did, so there is no state code. PyMySQL sends it
    # all the same; our statements being fixed, only a value can have spoilt their syntax.
    original = getattr(error, "orig", None)
    is_spoilt = getattr(original, "args", ())[:1] == (MYSQL_SYNTAX_ERROR,)
    is_unsent = type(original).__module__ in {"sqlite3", "psycopg"} and getattr(original, "sqlstate", None) is None
    return isinstance(error, ProgrammingError) and (is_spoilt or is_unsent)


def reason(error: Exception) -> str:
    """The driver's own first line, without our statement and its parameters."""
    original = getattr(error, "orig", None) or error
    return f"{type(original).__name__}: {str(original).splitlines()[0] if str(original) else 'no reason given'}"


READ_ONLY = {"25006", 1290, 1792, 1836}
"""The codes by which PostgreSQL and MySQL say that nothing can be written here, or through this connection."""


def _give_up_connections(context: ExceptionContext) -> None:
    """Make all connections anew, when one can only read: it would stay so when the trouble is over.

    But not after a failed write or sync: closed, SQLite would find what could not be synced in the file all the same,
    and take it for committed, which it is only until the power goes.
    """
    error: Any = context.original_exception
    codes = {getattr(error, "sqlstate", None), *getattr(error, "args", ())[:1]}
    if _sqlite_says(error, sqlite3.SQLITE_READONLY) or not READ_ONLY.isdisjoint(codes):
        context.is_disconnect = True


def _sqlite_says(error: BaseException, *codes: int) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


# Our queries read few rows. Where the planner expects many, it would compile them first: ten milliseconds and more.
_NO_JIT = "SELECT set_config('jit', 'off', false) WHERE EXISTS (SELECT FROM pg_settings WHERE name = 'jit')"


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    standby.listen(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        cursor.execute(_NO_JIT)
        cursor.execute(keepalive.POSTGRESQL_WATCHES)
    connection.commit()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver's own would come too late to be IMMEDIATE
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_S * 1000}")
    _turn_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _turn_to_wal(cursor: Any) -> None:
    """Turn the file to WAL; of processes that do so at once, SQLite tells some "locked" without waiting."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if time.monotonic() > deadline or not _sqlite_says(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer can fail with "database is locked" at any statement;
    # an immediate one waits its turn at the start.
    writing = connection.get_execution_options().get("saga_es_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
