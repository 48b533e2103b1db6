"""The barrier in a step function: what it raises means to the saga what its answer over HTTP would mean."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.hotel import Hotel
from tests.support.trips import events_of


def test_a_call_that_was_undone_before_it_came_is_rejected(database_url: str, open_engine: OpenEngine) -> None:
    """It is refused for good: it is tried once, and acts no more."""
    hotel = Hotel(database_url)
    saga = Saga("trip")

    @saga.step
    def book(key: str) -> Any:
        hotel.cancel(key)
        return hotel.book(key)

    @saga.compensates(book)
    def cancel(action_key: str) -> None:
        hotel.cancel(action_key)

    with closing(hotel):
        engine = open_engine(saga)
        result = engine.start(saga, {}, saga_id="s-1").result(TIMEOUT_S)
        assert result.status is SagaStatus.COMPENSATED
        failed = [event for event in events_of(engine, "s-1") if isinstance(event, e.StepFailed)]
        assert ["was undone before it came" in event.error for event in failed] == [True]
        assert hotel.guests == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_call_with_another_in_the_way_is_tried_again(tmp_path: Path, open_engine: OpenEngine) -> None:
    """And then gets the answer of the call that was in the way; what was tried in vain is in no doubt."""
    hotel = Hotel(f"sqlite:///{tmp_path / 'hotel.db'}")
    saga = Saga("trip")
    in_the_way: list[Future[Any]] = []

    @saga.step(compensation=None, retry=RetryPolicy(attempts=3, first_delay_s=0.01))
    def book(key: str) -> Any:
        if in_the_way:
            hotel.may_end.set()
            in_the_way[0].result(TIMEOUT_S)
            return hotel.book(key)
        hotel.may_end.clear()
        in_the_way.append(threads.submit(hotel.book, key))
        assert hotel.acted.wait(TIMEOUT_S)
        with hotel.engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            return hotel.barrier.act(connection, key, lambda: hotel._insert(connection, "Eva"))

    with ThreadPoolExecutor(1) as threads, closing(hotel):
        engine = open_engine(saga)
        result = engine.start(saga, {}, saga_id="s-1").result(TIMEOUT_S)
        assert (result.status, result.results["book"]["guest"]) == (SagaStatus.COMPLETED, "Ada")
        failed = [event for event in events_of(engine, "s-1") if isinstance(event, e.StepFailed)]
        assert [(event.failure, event.frame) for event in failed] == [("unavailable", None)]
        assert hotel.guests == ["Ada"]
