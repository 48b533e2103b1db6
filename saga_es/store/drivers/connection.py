"""The writer's own connection to the database, at the level of the driver.

A batch is small and frequent. SQLAlchemy's work around a transaction (a connection from the pool, events, a cursor and
a result for each statement, the reset) took longer than the database's. So SQLAlchemy compiles each statement once, and
the driver executes it. Errors are translated to SQLAlchemy's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from saga_es.store.drivers.compiled import compiled, compiled_query
from saga_es.store.drivers.driver import Raw, driver_of
from saga_es.store.drivers.writes import Write
from saga_es.store.host_time import monotonic_s

PING_AFTER_S = 5.0
"""A connection that was idle for longer is pinged first: the server may have restarted meanwhile."""


class DriverConnection:
    """A connection that is kept, with transactions on it; one thread uses it at a time.

    Args:
        engine: Opens the connection, before the first transaction.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect
        self._driver = driver_of(engine.dialect)
        self._lock = threading.Lock()
        self._raw: Raw = None
        self._used_at = 0.0

    def transact(self, writes: Sequence[Write]) -> None:
        """Execute all writes, in this order, in one transaction; all of them or none.

        Raises:
            sqlalchemy.exc.DBAPIError: The driver's error, as SQLAlchemy would wrap it. If it was raised at the commit,
                nobody knows whether the writes were committed.
        """
        with self._lock:
            try:  # as `_as_sqlalchemy_says` does, without its calls
                raw = self._connected()
                if not self._driver.has_server:  # then there are no warnings, and no ways to save
                    self._driver.begin(raw)
                    self._execute(raw, writes)
                    raw.commit()
                else:
                    self._transact_remotely(raw, writes)
                self._used_at = monotonic_s()
            except BaseException as error:  # noqa: BLE001 (translated, or raised again)
                self._translate(error)

    def _transact_remotely(self, raw: Raw, writes: Sequence[Write]) -> None:
        self._driver.forget_warnings(raw)
        whole = self._driver.as_one_statement(writes, self._dialect)
        if whole is not None:
            raw.execute(*whole)  # autocommit: one round trip
        else:
            self._driver.begin(raw)
            self._execute(raw, writes)
            raw.commit()
        self._driver.check_commit(raw)

    def fetch(self, query: sa.Select[Any], values: Mapping[str, Any]) -> list[list[Any]]:
        """The rows of one query, in a transaction of its own. Other threads wait for the connection: keep it short.

        Raises:
            sqlalchemy.exc.DBAPIError: The driver's error, as SQLAlchemy would wrap it.
        """
        form = compiled_query(query, self._dialect)
        with self._lock, self._as_sqlalchemy_says():
            raw = self._connected()
            cursor = raw.cursor()
            cursor.execute(form.text, form.laid_out(values))
            found = cursor.fetchall()
            cursor.close()
            self._driver.end_query(raw)
            self._used_at = monotonic_s()
        return form.rows(found)

    def close(self, timeout_s: float = -1) -> None:
        """Close the connection, unless it is still in use after the timeout (-1: wait for ever)."""
        if self._lock.acquire(timeout=timeout_s):
            try:
                self._drop()
            finally:
                self._lock.release()

    def rest(self, timeout_s: float) -> bool:
        """Close the connection, and let nobody use it before `go_on`; False if it is still in use after the timeout."""
        is_held = self._lock.acquire(timeout=timeout_s)
        if is_held:
            self._drop()
        return is_held

    def go_on(self) -> None:
        """Let others use it again, after a `rest` that returned True."""
        self._lock.release()

    def _execute(self, raw: Raw, writes: Sequence[Write]) -> None:
        cursor = raw.cursor()
        for statement, rows in writes:
            form = compiled(statement, tuple(rows[0]), self._dialect)
            if form.is_plain:
                cursor.executemany(form.text, form.tuples(rows))
                continue
            for text, laid_out in form.executions(rows):
                cursor.executemany(text, laid_out)
        cursor.close()

    def _connected(self) -> Raw:
        is_doubtful = self._driver.has_server and monotonic_s() - self._used_at > PING_AFTER_S
        if self._raw is not None and is_doubtful and not self._answers():
            self._drop()
        if self._raw is None:
            connection = self._engine.raw_connection()
            self._raw = connection.driver_connection
            connection.detach()
            self._driver.prepare_for_batches(self._raw)
        return self._raw

    def _answers(self) -> bool:
        try:
            return bool(self._dialect.do_ping(self._raw))
        except Exception:  # noqa: BLE001 (whatever it says: it is not the answer)
            return False

    @contextmanager
    def _as_sqlalchemy_says(self) -> Iterator[None]:
        """Translate the driver's errors to SQLAlchemy's; after an error no transaction is open."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001 (translated, or raised again)
            self._translate(error)

    def _translate(self, error: BaseException) -> NoReturn:
        dbapi: Any = self._dialect.loaded_dbapi
        self._take_back()
        if isinstance(error, dbapi.Error):
            raise sa.exc.DBAPIError.instance(None, None, error, dbapi.Error, dialect=self._dialect) from error
        raise error

    def _take_back(self) -> None:
        if self._raw is None:
            return
        try:
            self._raw.rollback()
        except Exception:  # noqa: BLE001 (a connection that cannot even do that is none)
            self._drop()

    def _drop(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            with suppress(Exception):
                self._engine.pool.dispatch.close_detached(raw)  # as SQLAlchemy would tell it
                raw.close()
