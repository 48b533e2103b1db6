"""More work than there are threads: all of it is done, only later, and what else there is does not wait for it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.runtime.calls import backlog
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.transport import WsgiTransport
from saga_es.store.workers import Workers
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import events_of, until

THREADS = 2
OVERLOAD = 50 * THREADS
STEP_S = 0.05
ONCE = RetryPolicy(attempts=1)


class Turnstile:
    """Where slow calls come through: it counts them, and lets each one out when a test says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exits = threading.Semaphore(0)
        self.inside = self.most = self.entered = 0

    def __call__(self) -> None:
        """Go in, and wait to be let out."""
        with self._lock:
            self.inside += 1
            self.entered += 1
            self.most = max(self.most, self.inside)
        self._exits.acquire(timeout=2 * TIMEOUT_S)
        with self._lock:
            self.inside -= 1

    def let_out(self, count: int) -> None:
        """So many may leave, now or later."""
        self._exits.release(count)


@pytest.fixture
def turnstile(open_engine: OpenEngine) -> Iterable[Turnstile]:
    """All are let out in the end."""
    del open_engine  # asked for so that this fixture ends first
    turnstile = Turnstile()
    yield turnstile
    turnstile.let_out(100 * OVERLOAD)


def slow(act: Callable[[], None], timeout_s: float = 30.0) -> Saga:
    saga = Saga("slow")

    @saga.step(timeout_s=timeout_s)
    def take_time() -> None:
        act()

    @saga.compensates(take_time)
    def undo() -> None:
        act()

    return saga


def quick() -> Saga:
    saga = Saga("quick")

    @saga.step(compensation=None)
    def act() -> str:
        return "done"

    return saga


def test_every_saga_of_an_overload_of_fifty_times_the_capacity_completes(open_engine: OpenEngine) -> None:
    """Each waits for much longer than its time-out, and no more calls are made at once than there are threads."""
    busy, most = Counter[str](), 0
    lock = threading.Lock()

    def act() -> None:
        nonlocal most
        with lock:
            busy["now"] += 1
            most = max(most, busy["now"])
        time.sleep(STEP_S)
        with lock:
            busy["now"] -= 1

    saga = slow(act, timeout_s=10 * STEP_S)
    engine = open_engine(saga, executor=Executor(threads=THREADS))
    handles = [engine.start(saga, wait=False) for _ in range(OVERLOAD)]
    assert Counter(handle.result(TIMEOUT_S).status for handle in handles) == {SagaStatus.COMPLETED: OVERLOAD}
    assert most == THREADS


def test_another_definition_has_the_next_thread(open_engine: OpenEngine, turnstile: Turnstile) -> None:
    """It waits for one call of those that have begun, however many wait before it."""
    saga = slow(turnstile)
    engine = open_engine(saga, quick(), executor=Executor(threads=THREADS))
    for _ in range(OVERLOAD):
        engine.start(saga, wait=False)
    until(lambda: turnstile.entered == THREADS)
    handle = engine.start("quick")
    turnstile.let_out(1)
    assert handle.result(TIMEOUT_S).completed
    assert turnstile.entered <= THREADS + 1


def test_a_participant_that_answers_late_has_no_more_requests_than_the_limit(
    open_engine: OpenEngine, turnstile: Turnstile
) -> None:
    """A request that timed out is still being answered; another participant does not wait for it."""

    def late(_environ: Any, start_response: Any) -> Iterable[bytes]:
        turnstile()
        start_response("200 OK", [])
        return [b"{}"]

    def prompt(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b'"here"']

    executor = Executor({"late": WsgiTransport(late), "prompt": WsgiTransport(prompt)}, threads=THREADS)
    trip, visit = Saga("trip"), Saga("visit")
    trip.request("ask", Participant("late").post("/"), compensation=None, timeout_s=0.3, retry=ONCE)
    visit.request("ask", Participant("prompt").post("/"), compensation=None)
    engine = open_engine(trip, visit, executor=executor)
    handles = [engine.start(trip, wait=False) for _ in range(5 * THREADS)]
    assert [handle.result(TIMEOUT_S).status for handle in handles[:THREADS]] == [SagaStatus.COMPENSATED] * THREADS
    assert engine.start(visit).result(TIMEOUT_S).completed
    assert (turnstile.most, turnstile.entered) == (THREADS, THREADS)
    turnstile.let_out(5 * THREADS)
    assert {handle.result(TIMEOUT_S).status for handle in handles[THREADS:]} == {SagaStatus.COMPLETED}
    assert turnstile.most == THREADS


def test_commands_and_signals_do_not_wait_for_threads(open_engine: OpenEngine, turnstile: Turnstile) -> None:
    """A saga that is cancelled before its call began has called nobody, and has nothing to undo."""
    saga, waiting = slow(turnstile), Saga("waiting")
    waiting.wait_for("answer", timeout_s=None)
    engine = open_engine(saga, waiting, executor=Executor(threads=THREADS))
    asked = engine.start(waiting)
    handles = [engine.start(saga) for _ in range(5 * THREADS)]
    until(lambda: turnstile.entered == THREADS)
    engine.cancel(handles[-1].saga_id, reason="too late", actor="Ann")
    engine.signal(asked.saga_id, "answer", 7)
    assert handles[-1].result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert asked.result(TIMEOUT_S).results == {"answer": 7}
    assert turnstile.entered == THREADS
    assert not any(isinstance(event, e.CompensationStarted) for event in events_of(engine, handles[-1].saga_id))


def test_calls_that_were_cancelled_before_they_began_say_nothing_of_their_participant(
    open_engine: OpenEngine, turnstile: Turnstile
) -> None:
    """Many at once: the participant is there, and those that come later are not held back."""
    saga = slow(turnstile)
    engine = open_engine(saga, executor=Executor(threads=THREADS))
    handles = [engine.start(saga) for _ in range(5 * THREADS)]
    until(lambda: turnstile.entered == THREADS)
    for handle in handles[THREADS:]:
        engine.cancel(handle.saga_id, reason="too late", actor="Ann")
    for handle in handles[THREADS:]:
        assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    later = engine.start(saga)
    assert engine.worker.absence(later.saga_id, "take_time") is None
    turnstile.let_out(5 * THREADS)
    assert later.result(TIMEOUT_S).completed


def test_a_new_saga_waits_in_the_log_while_too_many_calls_of_its_definition_wait(
    open_engine: OpenEngine, turnstile: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PENDING, for any worker that has capacity; those of other definitions begin at once."""
    monkeypatch.setattr(backlog, "CROWDED_AFTER_S", 0.0)
    saga = slow(turnstile)
    engine = open_engine(saga, quick(), executor=Executor(threads=THREADS))
    handles = [engine.start(saga) for _ in range(OVERLOAD)]
    begun = [handle for handle in handles if len(events_of(engine, handle.saga_id)) > 1]
    assert begun == handles[: len(begun)]
    assert len(begun) <= THREADS * (backlog.WAITING_FOR_A_THREAD + 1) + 1
    handle = engine.start("quick")
    turnstile.let_out(1)
    assert handle.result(TIMEOUT_S).completed
    turnstile.let_out(OVERLOAD)
    assert {handle.result(TIMEOUT_S).status for handle in handles} == {SagaStatus.COMPLETED}
    assert turnstile.most == THREADS


def test_delays_and_the_heartbeat_do_not_wait_for_threads(
    store: Store, open_engine: OpenEngine, turnstile: Turnstile
) -> None:
    """All threads hang in calls, and many more calls wait: a delay is over, a time-out too, and the row moves."""
    saga, resting, asking = slow(turnstile), Saga("resting"), Saga("asking")
    resting.delay("rest", 0.1)
    asking.wait_for("answer", timeout_s=0.1)
    engine = open_engine(
        saga, resting, asking, executor=Executor(threads=THREADS), workers=Workers(store.database, lease_s=1.0)
    )
    handles = [engine.start(saga, wait=False) for _ in range(OVERLOAD)]
    until(lambda: turnstile.entered == THREADS)
    before = store.workers.heartbeats()[engine.worker_id]
    ends = [engine.start(resting), engine.start(asking)]
    assert [handle.result(TIMEOUT_S).status for handle in ends] == [SagaStatus.COMPLETED, SagaStatus.COMPENSATED]
    until(lambda: store.workers.heartbeats()[engine.worker_id] > before)
    assert (turnstile.entered, turnstile.inside) == (THREADS, THREADS)
    turnstile.let_out(OVERLOAD)
    assert {handle.result(TIMEOUT_S).status for handle in handles} == {SagaStatus.COMPLETED}
