"""Chores that meet a database that is away for a moment: each runs again, and soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StoreUnavailable
from saga_es.store.process import Process
from saga_es.store.workers import Workers
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.contract.engine.test_code_that_does_not_come_back import a_waiting_saga
from tests.contract.engine.test_versions import an_order, state_of
from tests.support.trips import crash, has_happened, until

LEASE_S = 1.0
REFUSED = range(2, 4)
"""The second call and the third."""


class Faltering(Workers):
    """A table of workers that cannot be reached while one method of it is called for the second and the third time."""

    def __init__(self, store: Store, faltering: str) -> None:
        super().__init__(store.database, LEASE_S)
        self._faltering = faltering
        self.calls = 0

    def beat(self, worker_id: str, process: Process, code: str | None = None) -> bool:
        """Send a heartbeat, if the database is there."""
        return bool(self._reached("beat", super().beat, worker_id, process, code))

    def bury(self) -> list[str]:
        """Bury, if the database is there."""
        buried: list[str] = self._reached("bury", super().bury)
        return buried

    def orphans_by_plan(self) -> dict[tuple[str, str], int]:
        """Count, if the database is there."""
        counted: dict[tuple[str, str], int] = self._reached("orphans_by_plan", super().orphans_by_plan)
        return counted

    def _reached(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        if name == self._faltering:
            self.calls += 1
            if self.calls in REFUSED:
                raise StoreUnavailable(f"no {name}")
        return method(*arguments)


def waits() -> Saga:
    """A saga that waits for a signal."""
    saga = Saga("asked")
    saga.wait_for("answer", timeout_s=None)
    return saga


def test_a_heartbeat_that_failed_is_not_the_last(store: Store, open_engine: OpenEngine) -> None:
    """The next comes as if nothing had been: a worker that is silent for a lease loses its sagas."""
    workers = Faltering(store, "beat")
    open_engine(waits(), workers=workers)
    until(lambda: workers.calls > REFUSED.stop)


def test_recovery_looks_again_soon_after_trouble(store: Store, open_engine: OpenEngine) -> None:
    """A saga that lost its worker while the database was away moves on when it is back."""
    saga = waits()
    first = open_engine(saga, recovers=False)
    handle = first.start(saga)
    workers = Faltering(store, "bury")
    second = open_engine(saga, workers=workers)
    until(lambda: workers.calls >= REFUSED.stop - 1)
    crash(store, first)
    until(lambda: has_happened(second, handle.saga_id, e.SagaTakenOver))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sagas_without_code_are_given_up_also_after_trouble(store: Store, open_engine: OpenEngine) -> None:
    """The look for them fails, and is taken again."""
    theirs = a_waiting_saga(store, open_engine)
    workers = Faltering(store, "orphans_by_plan")
    open_engine(an_order(), workers=workers, missing_code_timeout_s=0.2)
    until(lambda: workers.calls > REFUSED.stop)
    until(lambda: state_of(store, theirs).status is SagaStatus.FAILED, TIMEOUT_S)
