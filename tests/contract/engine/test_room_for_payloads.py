"""Sagas begin only where there is memory for their inputs: the others stay in the log."""

from __future__ import annotations

import threading

import pytest

from saga_es import RetryPolicy, Saga, StepUnavailable
from saga_es.core.state import SagaStatus
from saga_es.runtime.calls.away import AWAY_AFTER
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import until

BUDGET = 1_000_000
LARGE = {"text": "x" * 100_000}
MANY = 30


def states(store: Store, ids: list[str]) -> list[str | None]:
    """The owners of these sagas."""
    return [state.owner for state in (store.sagas.find(id_) for id_ in ids) if state is not None]


def test_sagas_whose_inputs_have_no_room_in_memory_stay_in_the_log(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """PENDING, without a worker; they go on as others end, and the engine says meanwhile why not."""
    saga, small = Saga("large"), Saga("small")

    @saga.step(compensation=None, timeout_s=600)
    def act() -> None:
        gate.wait(TIMEOUT_S)

    @small.step(compensation=None)
    def pass_by() -> None: ...

    engine = open_engine(saga, small, payload_memory=BUDGET)
    handles = [engine.start(saga, LARGE) for _ in range(MANY)]
    owners = states(store, [handle.saga_id for handle in handles])
    assert 0 < sum(owner is not None for owner in owners) * 100_000 <= BUDGET
    until(lambda: engine.worker.shortage("large") is not None)
    short = engine.worker.shortage("large")
    assert short is not None
    assert (short.what, short.used >= short.limit, short.limit < BUDGET) == ("memory", True, True)
    assert engine.worker.shortage("small") is None
    assert engine.start(small).result(TIMEOUT_S).completed, "another definition has its share all the same"
    gate.set()
    assert {handle.result(TIMEOUT_S).status for handle in handles} == {SagaStatus.COMPLETED}
    until(lambda: engine.worker.shortage("large") is None)


def test_calls_that_are_held_back_leave_memory_to_other_definitions(store: Store, open_engine: OpenEngine) -> None:
    """Half of it: an outage of one participant stops the sagas of nobody else."""
    away, other, is_back = Saga("away"), Saga("other"), threading.Event()

    @away.step(compensation=None, retry=RetryPolicy(attempts=50, first_delay_s=0.01))
    def hall() -> None:
        if not is_back.is_set():
            raise StepUnavailable("the hall is closed")

    @other.step(compensation=None)
    def act() -> None: ...

    engine = open_engine(away, other, payload_memory=BUDGET)
    first = [engine.start(away).saga_id for _ in range(2 * AWAY_AFTER)]
    until(lambda: any(engine.worker.absence(saga_id, "hall") for saga_id in first))
    handles = [engine.start(away, LARGE) for _ in range(MANY)]
    owners = states(store, [handle.saga_id for handle in handles])
    assert sum(owner is not None for owner in owners) * 100_000 < 0.8 * BUDGET
    assert engine.worker.absence_for("away") is not None
    assert engine.start(other, LARGE).result(TIMEOUT_S).completed
    is_back.set()
    assert {handle.result(TIMEOUT_S).status for handle in handles} == {SagaStatus.COMPLETED}


@pytest.mark.parametrize(("at_once", "what"), [(1, "sagas"), (None, "definition")])
def test_what_keeps_sagas_from_beginning_is_named(
    open_engine: OpenEngine, gate: threading.Event, at_once: int | None, what: str
) -> None:
    """The limit of all sagas, or that of the definition."""
    saga = Saga("one", at_once=1)

    @saga.step(compensation=None, timeout_s=600)
    def act() -> None:
        gate.wait(TIMEOUT_S)

    engine = open_engine(saga, at_once=at_once)
    assert engine.worker.shortage("one") is None
    handles = [engine.start(saga) for _ in range(2)]
    until(lambda: engine.worker.shortage("one") == (what, 1, 1))
    gate.set()
    assert all(handle.result(TIMEOUT_S).completed for handle in handles)
