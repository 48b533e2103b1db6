"""One URL, one database: connections for reading and transactions for writing, on any database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from saga_es.errors import Denied, NotOnStandby, RolledBack, StoreUnavailable
from saga_es.store.drivers import tls
from saga_es.store.drivers.connection import DriverConnection
from saga_es.store.drivers.driver import WRITING, driver_for
from saga_es.store.drivers.error_codes import reason
from saga_es.store.drivers.names import complete_names
from saga_es.store.drivers.url import parse_url, without_secrets
from saga_es.store.drivers.writes import Write
from saga_es.store.process import around_each_fork, in_each_child, look_for_fork
from saga_es.store.uses import Uses

CLOSE_TIMEOUT_S = 1.0
"""How long `close` waits for a connection that is in use."""

REST_TIMEOUT_S = 5.0
"""How long a fork waits for connections to a file that are in use."""


_databases: WeakSet[Database] = WeakSet()

_inherited: list[object] = []
"""Connections of the parent process: if they were collected here, they would be closed under its feet."""


def _leave_connections_to_parent() -> None:
    for database in list(_databases):
        database.was_forked()


def _rest() -> None:
    for database in list(_databases):
        database.rest()


def _go_on() -> None:
    for database in list(_databases):
        database.go_on()


in_each_child(_leave_connections_to_parent)
around_each_fork(_rest, _go_on)


class Database:
    """A database reached by a URL: `sqlite:///file`, `postgresql://…`, `mysql://…` or `mariadb://…`.

    SQLite is opened in WAL mode with `synchronous=FULL`: a commit that was answered survives a power cut.

    Args:
        url: The URL; the name of the Python driver may be left out.
        pool_size: Connections kept open for reading.
        table_prefix: What the names of our tables, indexes and triggers begin with in this database.

    Raises:
        SettingsError: The URL cannot be used.
    """

    def __init__(self, url: str, pool_size: int = 10, table_prefix: str = "") -> None:
        self.url = parse_url(url)
        self.driver = driver_for(self.url)
        self._is_in_doubt = False
        options = self.driver.engine_options(self.url)
        self.engine = sa.create_engine(self.url, pool_size=pool_size, max_overflow=40, poolclass=QueuePool, **options)
        complete_names(self.engine, table_prefix, of_indexes=not self.driver.index_names_are_the_tables_own)
        event.listen(self.engine, "handle_error", self._give_up_connections)
        self._check_place = self.driver.prepare_connections(self.engine, self.url)
        self._direct = DriverConnection(self.engine)
        self._lookup = DriverConnection(self.engine)
        self._writer = self.engine.execution_options(**{WRITING: True})
        self._uses = Uses()
        self._resting: list[DriverConnection] = []
        _databases.add(self)

    def __repr__(self) -> str:
        return f"Database({without_secrets(self.url)!r})"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with; on SQLite and MySQL it sees one consistent snapshot.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._translated(), self._uses.one(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A read-only transaction that sees one state of the database until it ends.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self.reading() as connection:
            yield connection.execution_options(**self.driver.read_only_options)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises.

        SQLAlchemy's `StatementError`s that are about the values, such as `IntegrityError`, pass through.

        Raises:
            RolledBack: The database rolled it back in favour of another transaction; nothing was written.
            StoreUnavailable: The database did not answer. If that was at the commit, nobody knows whether it was
                committed: read before you write again.
        """
        with self._translated(), self._uses.one():
            with self._writer.connect() as connection:
                raw = connection.connection.driver_connection
                with connection.begin():
                    yield connection
                    self.driver.forget_warnings(raw)
                with self._doubted():
                    self.driver.check_commit(raw)
            self._check_place()

    def make_sure(self) -> None:
        """Wait until earlier commits are on the standby, if the server warned that they may not be.

        Raises:
            StoreUnavailable: It is still unknown.
        """
        if self._is_in_doubt:
            with self.writing() as connection:
                self.driver.wait_for_standby(connection)
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
        """A connection of the caller's own, in no transaction; its settings and locks end with the block.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._translated(), self._uses.one(), self.engine.connect() as connection:
            connection.detach()
            connection.execution_options(**{WRITING: True})
            yield connection

    def transact(self, writes: Sequence[Write]) -> None:
        """Execute all writes, in this order, in one transaction: all of them or none. This is the fast path.

        SQLAlchemy's errors that are about the values, such as `IntegrityError`, pass through.

        Raises:
            StoreUnavailable: As for `writing`.
        """
        look_for_fork()
        try:
            try:  # as `_translated` and `_doubted` do: every append comes here, and each of them costs nine calls
                self._direct.transact(writes)
            except NotOnStandby:
                self._is_in_doubt = True
                raise
            except (DBAPIError, sa.exc.TimeoutError) as error:
                self._translate(error)
            try:  # nobody finds a commit to a file that was removed; it must not be acknowledged
                self._check_place()
            except StoreUnavailable:
                with self._uses.one():  # a fork had closed the file
                    self._check_place()
        except RolledBack:  # the connection is still good
            raise
        except StoreUnavailable as error:
            if self._is_new_connection_better(error):
                self._direct.close()
            raise

    def look_up(self, query: sa.Select[Any], values: Mapping[str, Any]) -> list[list[Any]]:
        """The rows of a short, frequent query, at a tenth of the cost that SQLAlchemy adds.

        Args:
            query: A query that the caller keeps: it is cached by its identity.
            values: The values of its parameters.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        try:
            with self._translated():
                return self._lookup.fetch(query, values)
        except StoreUnavailable:
            self._lookup.close()
            raise

    def rest(self) -> None:
        """Before a fork: close the connections to a file, once their transactions have ended, and let none be opened.

        SQLite keeps what a process has locked in its memory. A child that inherited it would take the parent's locks
        for its own: it would wait for ever for a transaction that is not there, and read what the parent overwrites.
        What is in use for longer than `REST_TIMEOUT_S`, or by the thread that forks, stays open.
        """
        if not self.driver.has_server:
            self._uses.hold(REST_TIMEOUT_S)
            self._resting = [each for each in (self._direct, self._lookup) if each.rest(REST_TIMEOUT_S)]
            self.engine.dispose()

    def go_on(self) -> None:
        """After a fork, in the parent: whoever needs a connection opens one."""
        while self._resting:
            self._resting.pop().go_on()
        self._uses.go_on()

    def was_forked(self) -> None:
        """This process is a child of the one that made this: its connections are the parent's, and are not touched."""
        _inherited.append((self.engine.pool, self._direct, self._lookup))
        self.engine.dispose(close=False)
        self._writer = self.engine.execution_options(**{WRITING: True})
        self._direct = DriverConnection(self.engine)
        self._lookup = DriverConnection(self.engine)
        self._uses, self._resting = Uses(), []

    def close(self) -> None:
        """Close all connections, except those in use that do not become free within `CLOSE_TIMEOUT_S`."""
        self._lookup.close(CLOSE_TIMEOUT_S)
        self._direct.close(CLOSE_TIMEOUT_S)
        self.engine.dispose()

    def is_missing(self) -> bool:
        """Whether the database does not exist yet, and connecting would create it."""
        return self.driver.is_missing(self.url)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate SQLAlchemy's errors to `StoreUnavailable`, unless they are about the values."""
        look_for_fork()  # each use of a connection comes through here
        try:
            yield
        except (DBAPIError, sa.exc.TimeoutError) as error:
            self._translate(error)

    def _translate(self, error: DBAPIError | sa.exc.TimeoutError) -> NoReturn:
        if self.driver.errors.is_about_values(error):
            raise error
        why = reason(error)
        cure = tls.cure(why, self.driver.tls_cure)
        raise self._kind_of(error)(f"the database did not do as asked: {why}{cure}") from error

    def _kind_of(self, error: sa.exc.SQLAlchemyError) -> type[StoreUnavailable]:
        errors = self.driver.errors
        code = errors.code(getattr(error, "orig", None))
        if code in errors.rolled_back:
            return RolledBack
        return Denied if code in errors.denied else StoreUnavailable

    def _is_new_connection_better(self, error: StoreUnavailable) -> bool:
        """Whether a new connection would be free of this connection's trouble.

        Without a server it would not be, after a failed write or sync: SQLite, closed and reopened, would find the
        unsynced write in the file and take it for committed, though a power cut would lose it.
        """
        errors = self.driver.errors
        return self.driver.has_server or errors.code(getattr(error.__cause__, "orig", error)) in errors.read_only

    def _give_up_connections(self, context: ExceptionContext) -> None:
        """Replace all connections when one has become read-only: it would stay read-only after the trouble is over."""
        errors = self.driver.errors
        if errors.code(context.original_exception) in errors.read_only:
            context.is_disconnect = True
        cursor: Any = getattr(context.execution_context, "cursor", None)
        if context.is_disconnect and cursor is not None:
            with suppress(Exception):  # SQLAlchemy leaves it open, and psycopg complains when it is collected
                cursor.close()
