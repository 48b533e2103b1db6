"""One URL, one database: connections for reading, transactions for writing, whatever the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from saga_es.errors import Denied, NotOnStandby, RolledBack, StoreUnavailable
from saga_es.store.drivers.connection import DriverConnection
from saga_es.store.drivers.driver import WRITING, driver_for
from saga_es.store.drivers.error_codes import reason
from saga_es.store.drivers.url import parse_url
from saga_es.store.drivers.writes import Write

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
        self.driver = driver_for(self.url)
        self._is_in_doubt = False
        options = self.driver.engine_options(self.url)
        self.engine = sa.create_engine(self.url, pool_size=pool_size, max_overflow=40, poolclass=QueuePool, **options)
        event.listen(self.engine, "handle_error", self._give_up_connections)
        self._check_place = self.driver.prepare_connections(self.engine, self.url)
        self._direct = DriverConnection(self.engine)
        self._lookup = DriverConnection(self.engine)
        self._writer = self.engine.execution_options(**{WRITING: True})

    def __repr__(self) -> str:
        return f"Database({self.url.render_as_string(hide_password=True)!r})"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with; what it sees is one consistent snapshot on SQLite and MySQL.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state of the database however long it takes.

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
            RolledBack: The database gave it up for the sake of another; nothing took place.
            StoreUnavailable: The database did not answer. If that was at the commit, nobody knows whether it
                took place: read before you write again.
        """
        with self._translated(), self._writer.connect() as connection:
            raw = connection.connection.driver_connection
            with connection.begin():
                yield connection
                self.driver.forget_warnings(raw)
            with self._doubted():
                self.driver.check_commit(raw)
        self._check_place()

    def make_sure(self) -> None:
        """Wait until what was committed here has reached the standby too, where the server said that it may not have.

        Raises:
            StoreUnavailable: It is still not known.
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
        """A connection of one's own, in no transaction; what was set or locked on it ends with the block.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        with self._translated(), self.engine.connect() as connection:
            connection.detach()
            connection.execution_options(**{WRITING: True})
            yield connection

    def transact(self, writes: Sequence[Write]) -> None:
        """Execute all writes, in this order, in one transaction, as fast as that can be done; all of them or none.

        SQLAlchemy's errors that are about the values, such as `IntegrityError`, pass through.

        Raises:
            StoreUnavailable: As for `writing`.
        """
        self._check_place()
        try:
            with self._translated(), self._doubted():
                self._direct.transact(writes)
            self._check_place()  # what was committed to a file that is gone meanwhile nobody finds again
        except RolledBack:  # the connection is as good as before
            raise
        except StoreUnavailable as error:
            if self._is_new_connection_better(error):
                self._direct.close()
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
            with self._translated():
                return self._lookup.fetch(query, values)
        except StoreUnavailable:
            self._lookup.close()
            raise

    def close(self) -> None:
        """Close all connections, apart from those on which somebody waits for an answer that does not come."""
        self._lookup.close(CLOSE_TIMEOUT_S)
        self._direct.close(CLOSE_TIMEOUT_S)
        self.engine.dispose()

    def is_missing(self) -> bool:
        """Whether there is no such database yet, and a look at it would make one."""
        return self.driver.is_missing(self.url)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What SQLAlchemy raises, as `StoreUnavailable` where it is not about the values."""
        try:
            yield
        except (DBAPIError, sa.exc.TimeoutError) as error:
            if self.driver.errors.is_about_values(error):
                raise
            raise self._kind_of(error)(f"the database did not do as asked: {reason(error)}") from error

    def _kind_of(self, error: sa.exc.SQLAlchemyError) -> type[StoreUnavailable]:
        errors = self.driver.errors
        code = errors.code(getattr(error, "orig", None))
        if code in errors.rolled_back:
            return RolledBack
        return Denied if code in errors.denied else StoreUnavailable

    def _is_new_connection_better(self, error: StoreUnavailable) -> bool:
        """Whether the next connection does not bring the trouble of this one along.

        Not so where there is no server, after a failed write or sync: closed, SQLite would find what could not be
        synced in the file all the same, and take it for committed, which it is only until the power goes.
        """
        errors = self.driver.errors
        return self.driver.has_server or errors.code(getattr(error.__cause__, "orig", error)) in errors.read_only

    def _give_up_connections(self, context: ExceptionContext) -> None:
        """Make all connections anew, when one can only read: it would stay so when the trouble is over."""
        errors = self.driver.errors
        if errors.code(context.original_exception) in errors.read_only:
            context.is_disconnect = True
