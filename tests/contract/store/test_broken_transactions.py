"""A transaction that breaks in the middle leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.errors import StoreUnavailable
from saga_es.store.database import Database
from saga_es.store.drivers.connection import DriverConnection
from saga_es.store.drivers.writes import Write
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Written
from saga_es.store.views.saga_view import sagas
from tests.conftest import AT, Store, note_draft

STARTED = (e.SagaStarted("trip", "plan-1", {}, "worker-1"), e.StepStarted("car", 1))


class BreakingDatabase(Database):
    """Breaks for real in the middle of a transaction: the server ends the session, or the disk is full."""

    breaks = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._direct = _Breaking(self)

    def fill(self, driver: Any) -> None:
        """Let the disk be as full as it is now; or no more."""
        if self.driver.name == "sqlite":
            (pages,) = driver.execute("PRAGMA page_count").fetchone()
            driver.execute(f"PRAGMA max_page_count = {pages if self.breaks else 1073741823}")

    def end(self, driver: Any) -> None:
        """Have the server end a session."""
        asked, order = {
            "sqlite": ("SELECT 1", "SELECT {}"),
            "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
            "mysql": ("SELECT connection_id()", "KILL {}"),
        }[self.driver.name]
        cursor = driver.cursor()
        cursor.execute(asked)
        (session,) = cursor.fetchone()
        with self.engine.connect() as other:
            other.exec_driver_sql(order.format(session))


class _Breaking(DriverConnection):
    """On PostgreSQL all is one statement: there the session ends before it, elsewhere before the commit."""

    def __init__(self, database: BreakingDatabase) -> None:
        super().__init__(database.engine)
        self._database = database

    def _connected(self) -> Any:
        driver = super()._connected()
        self._database.fill(driver)
        if self._database.breaks and self._database.driver.name == "postgresql":
            self._database.end(driver)
        return driver

    def _execute(self, driver: Any, writes: Sequence[Write]) -> None:
        super()._execute(driver, writes)
        if self._database.breaks:
            self._database.end(driver)


def test_a_database_that_breaks_in_mid_transaction_leaves_nothing(store: Store, database_url: str) -> None:
    """The rows and the views were sent but not committed: StoreUnavailable, and no trace; later, all is written."""
    database = BreakingDatabase(database_url)
    broken = Store.at(database)
    large = [note_draft(f"n-{n}", "x" * 20_000) for n in range(50)]
    batch = [store.writer.prepare(draft) for draft in (Draft("s-1", SAGA, 0, STARTED, AT), *large)]
    try:
        database.breaks = True
        with pytest.raises(StoreUnavailable):
            broken.writer.write(batch)
        assert store.log.entries() == []
        with store.database.reading() as connection:
            assert connection.execute(sa.select(sagas)).all() == []
        database.breaks = False
        assert broken.writer.write(batch) == [Written()] * 51
    finally:
        database.close()
    assert len(store.log.entries()) == 52
