"""`def` steps that hang: their time-outs pass, and no other saga waits for their threads."""

from __future__ import annotations

import threading

import pytest

from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.runtime.calls.executor import Executor
from tests.conftest import TIMEOUT_S, OpenEngine

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ONCE = RetryPolicy(attempts=1)


def test_sagas_go_on_when_as_many_steps_hang_as_there_are_threads(
    open_engine: OpenEngine, gate: threading.Event
) -> None:
    """Those that hang are compensated, which takes a thread as well; and others run as ever."""
    hanging, quick = Saga("hanging"), Saga("quick")

    @hanging.step(retry=ONCE, timeout_s=0.2)
    def hang() -> None:
        gate.wait(2 * TIMEOUT_S)

    @hanging.compensates(hang)
    def undo() -> None:
        """Nothing is there to be undone."""

    @quick.step(compensation=None)
    def act() -> str:
        return "done"

    engine = open_engine(hanging, quick, executor=Executor(threads=2))
    handles = [engine.start(hanging) for _ in range(2)]
    assert {handle.result(TIMEOUT_S).status for handle in handles} == {SagaStatus.COMPENSATED}
    assert engine.start(quick).result(TIMEOUT_S).results == {"act": "done"}


def test_steps_that_wait_for_sagas_of_their_own_worker_do_not_stop_it(open_engine: OpenEngine) -> None:
    """They take all the threads that what they wait for needs; their time-outs free it."""
    inner, outer = Saga("inner"), Saga("outer")
    both_began = threading.Barrier(2)

    @inner.step(compensation=None)
    def act() -> str:
        return "done"

    @outer.step(compensation=None, retry=ONCE, timeout_s=0.2)
    def wait(saga_id: str) -> None:
        both_began.wait(TIMEOUT_S)  # or the one saga would be done before the other takes the last thread
        engine.start(inner, saga_id=f"{saga_id}-inner").result(2 * TIMEOUT_S)

    engine = open_engine(inner, outer, executor=Executor(threads=2))
    handles = [engine.start(outer, saga_id=f"s{number}") for number in range(2)]
    ended = {handle.result(TIMEOUT_S).status for handle in handles}
    assert SagaStatus.COMPENSATED in ended  # the first time-out frees a thread, which can be early enough for the other
    assert ended <= {SagaStatus.COMPENSATED, SagaStatus.COMPLETED}
    for number in range(2):
        assert engine.follow(f"s{number}-inner").result(TIMEOUT_S).completed
