"""Many interrupted sagas: they are taken over as fast as they can be called, and no faster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.definition.saga import Saga
from saga_es.runtime.calls import backlog
from saga_es.runtime.calls.executor import Executor
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft
from tests.conftest import AT, TIMEOUT_S, OpenEngine, Store
from tests.support.trips import has_happened, until

CALL_S = 0.05
THREADS = 2
MANY = 60
IDS = [f"s{number:02}" for number in range(MANY)]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def a_saga(step: Callable[..., Any], **options: Any) -> Saga:
    saga = Saga("busy")
    saga.step(compensation=None, retry=RetryPolicy(attempts=1), **options)(step)
    return saga


def interrupted(store: Store, saga: Saga) -> None:
    """Sagas whose call was out when their worker went."""
    plans = [Draft(id_, PLAN, 0, (event,), AT) for id_, event in store.sagas.unrecorded([saga.plan])]
    past = (e.SagaStarted(saga.name, saga.plan_id, {}, "w1"), e.StepStarted("act", 1))
    store.write(*plans, *(Draft(saga_id, SAGA, 0, past, AT) for saga_id in IDS))


def test_no_call_times_out_because_of_a_takeover(store: Store, open_engine: OpenEngine) -> None:
    """All at once they would wait for a thread for longer than they may, and abort, though all is well."""

    def act() -> None:
        time.sleep(CALL_S)

    saga = a_saga(act, timeout_s=MANY * CALL_S / THREADS * 0.7)
    interrupted(store, saga)
    engine = open_engine(saga, executor=Executor(threads=THREADS))
    assert {engine.follow(saga_id).result(TIMEOUT_S).status for saga_id in IDS} == {"COMPLETED"}


def test_as_many_are_taken_over_as_threads_can_call_soon(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """The rest waits in the log, where it needs no memory, and where another worker may take it."""
    arrived: list[str] = []

    def act(saga_id: str) -> None:
        arrived.append(saga_id)
        gate.wait(TIMEOUT_S)

    saga = a_saga(act)
    interrupted(store, saga)
    engine = open_engine(saga, executor=Executor(threads=THREADS))
    until(lambda: len(arrived) == THREADS)
    engine.start(saga, {}, saga_id="fresh")  # and so the loop has aborted since
    taken = [saga_id for saga_id in IDS if has_happened(engine, saga_id, e.SagaTakenOver)]
    assert taken == IDS[: len(taken)], "oldest first"
    assert len(taken) <= THREADS * (backlog.WAITING_FOR_A_THREAD + 1)
    gate.set()
    assert {engine.follow(saga_id).result(TIMEOUT_S).status for saga_id in IDS} == {"COMPLETED"}


def test_coroutines_are_not_all_called_at_once_either(
    store: Store, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no threads to wait for, but there is a participant."""
    monkeypatch.setattr(backlog, "MOST_AWAITED", 5)
    here: set[str] = set()
    most = 0

    async def act(saga_id: str) -> None:
        nonlocal most
        here.add(saga_id)
        most = max(most, len(here))
        await asyncio.sleep(0.01)
        here.discard(saga_id)

    saga = a_saga(act)
    interrupted(store, saga)
    engine = open_engine(saga)
    assert {engine.follow(saga_id).result(TIMEOUT_S).status for saga_id in IDS} == {"COMPLETED"}
    assert most <= 5
