"""The writer's own connection to the database, at the level of the driver.

A batch is small and comes often: what SQLAlchemy does around a transaction (a connection from the pool, events, a
cursor and a result for each statement, the reset) took longer than what the database does in it. So the statements are
SQLAlchemy's, compiled once, and they are handed to the driver. Errors come out as SQLAlchemy's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from saga_es.store.drivers import standby
from saga_es.store.drivers.compiled import Write, compiled, compiled_query
from saga_es.store.drivers.postgresql_batch import as_one_statement

PING_AFTER_S = 5.0
"""A connection that was idle for longer is tried first: the server may have gone and come back meanwhile."""

_BY_KEY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""All that goes this way knows its rows by their keys. PostgreSQL keeps the plan of a prepared statement; one that it
made when a view was small, or when its numbers were old, would read the whole view for each batch."""


class DriverConnection:
    """A connection that is kept, and transactions on it; threads take turns.

    Args:
        engine: Where it is taken from, before the first transaction.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect
        self._lock = threading.Lock()
        self._driver: Any = None
        self._used_at = 0.0

    def transact(self, writes: Sequence[Write]) -> None:
        """Execute all writes, in this order, in one transaction; all of them or none.

        Raises:
            sqlalchemy.exc.DBAPIError: What the driver said, as SQLAlchemy would put it. If that was at the commit,
                nobody knows whether it took place.
        """
        with self._lock, self._as_sqlalchemy_says():
            driver = self._connected()
            standby.forget(driver)
            match self._dialect.name:
                case "sqlite":
                    driver.execute("BEGIN IMMEDIATE")
                    self._execute(driver, writes)
                    driver.commit()
                case "postgresql" if (whole := as_one_statement(writes, self._dialect)) is not None:
                    driver.execute(*whole)  # on a connection that commits by itself: one way there and back
                case "postgresql":
                    with driver.transaction():
                        self._execute(driver, writes)
                case _:
                    self._execute(driver, writes)
                    driver.commit()
            standby.check(driver)
            self._used_at = time.monotonic()

    def fetch(self, query: sa.Select[Any], values: Mapping[str, Any]) -> list[list[Any]]:
        """The rows of one query, in a transaction of its own; not for what takes long, for others wait for their turn.

        Raises:
            sqlalchemy.exc.DBAPIError: What the driver said, as SQLAlchemy would put it.
        """
        form = compiled_query(query, self._dialect)
        with self._lock, self._as_sqlalchemy_says():
            cursor = self._connected().cursor()
            cursor.execute(form.text, form.laid_out(values))
            found = cursor.fetchall()
            cursor.close()
            if self._dialect.name not in {"sqlite", "postgresql"}:
                self._driver.rollback()  # so that the next query sees what was committed since
            self._used_at = time.monotonic()
        return form.rows(found)

    def close(self, timeout_s: float = -1) -> None:
        """Give the connection up, unless somebody still waits for an answer on it after that (-1: wait for ever)."""
        if self._lock.acquire(timeout=timeout_s):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _execute(self, driver: Any, writes: Sequence[Write]) -> None:
        cursor = driver.cursor()
        for statement, rows in writes:
            for text, laid_out in compiled(statement, tuple(rows[0]), self._dialect).executions(rows):
                cursor.executemany(text, laid_out)
        cursor.close()

    def _connected(self) -> Any:
        is_doubtful = self._dialect.name != "sqlite" and time.monotonic() - self._used_at > PING_AFTER_S
        if self._driver is not None and is_doubtful and not self._answers():
            self._drop()
        if self._driver is None:
            connection = self._engine.raw_connection()
            self._driver = connection.driver_connection
            connection.detach()
            if self._dialect.name == "postgresql":
                self._driver.autocommit = True
                self._driver.execute(_BY_KEY)
        return self._driver

    def _answers(self) -> bool:
        try:
            return bool(self._dialect.do_ping(self._driver))
        except Exception:  # noqa: BLE001 (whatever it says: it is not the answer)
            return False

    @contextmanager
    def _as_sqlalchemy_says(self) -> Iterator[None]:
        """What the driver raises as what SQLAlchemy would raise; afterwards no transaction is open."""
        dbapi: Any = self._dialect.loaded_dbapi
        try:
            yield
        except dbapi.Error as error:
            self._take_back()
            raise sa.exc.DBAPIError.instance(None, None, error, dbapi.Error, dialect=self._dialect) from error
        except BaseException:
            self._take_back()
            raise

    def _take_back(self) -> None:
        if self._driver is None:
            return
        try:
            self._driver.rollback()
        except Exception:  # noqa: BLE001 (a connection that cannot even do that is none)
            self._drop()

    def _drop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with suppress(Exception):
                driver.close()
