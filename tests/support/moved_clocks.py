"""The clock of a database, which a test moves: for all that read it there, in whatever process and connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.store import workers
from saga_es.store.drivers.driver import driver_of
from tests.conftest import Store

_off = sa.table("clock_of_the_test", sa.column("off_s", sa.Double()))


class MovedClock:
    """The database's clock, so many seconds ahead or behind."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = store.database
        with store.database.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE clock_of_the_test (off_s DOUBLE PRECISION)")
            connection.execute(sa.insert(_off).values(off_s=0.0))

        def moved(dialect: Any) -> Any:
            return SimpleNamespace(clock=f"({driver_of(dialect).clock} + (SELECT off_s FROM clock_of_the_test))")

        monkeypatch.setattr(workers, "driver_of", moved)

    def move(self, seconds: float) -> None:
        """Step the clock to so many seconds from the true time."""
        with self._database.writing() as connection:
            connection.execute(sa.update(_off).values(off_s=seconds))
