"""A clock that jumps, a day ahead, a day back, there and back: no saga ends badly, and none waits for it to come round.

The clock is the database's, which a test moves. On SQLite it is the host's: an NTP step, a laptop that was suspended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StepUnavailable
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.runtime.limits import Limits
from saga_es.runtime.waiting.clock import SharedClock
from saga_es.store.process import Process
from saga_es.store.workers import Workers
from tests.conftest import TIMEOUT_S, Store
from tests.support.moved_clocks import MovedClock
from tests.support.trips import events_of, until

DAY_S = 86_400.0
LEASE_S = 1.0
ELSEWHERE = Process(host="another-machine", pid=1, pid_started="1")

AHEAD_AND_BACK = [(DAY_S, 0.0), (0.0, -3600.0)]
"""What a first worker sees, and what the next."""

JUMPS = [DAY_S, -3600.0]

Start = Callable[..., Engine]


@pytest.fixture
def clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    """The clock of the database, moved by hand."""
    return MovedClock(store, monkeypatch)


@pytest.fixture
def start(store: Store, clock: MovedClock) -> Iterator[Start]:
    """Opens workers that go by the database's clock."""
    del clock  # asked for so that workers end first
    with ExitStack() as opened:

        def start_one(*definitions: Saga, limits: Limits | None = None) -> Engine:
            workers = Workers(store.database, LEASE_S)
            clock = SharedClock(workers.now_s)
            engine = Engine(replace(store, workers=workers), Executor(), definitions, clock, limits)
            opened.callback(engine.close, grace_s=1.0)
            return engine.open()

        yield start_one


def beats(store: Store, engine: Engine, times: int = 2) -> None:
    """Wait until the worker has sent so many heartbeats: it has read the clock with each."""
    for _ in range(times):
        before = store.workers.heartbeats()[engine.worker_id]
        until(lambda before=before: store.workers.heartbeats()[engine.worker_id] != before)  # type: ignore[misc]


def state_of(store: Store, saga_id: str) -> SagaState:
    state = store.sagas.find(saga_id)
    assert state is not None
    return state


# ── What was written while the clock was ahead ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(("first", "then"), AHEAD_AND_BACK)
def test_waits_that_were_recorded_while_the_clock_was_ahead_last_as_long_as_they_should(
    store: Store, clock: MovedClock, start: Start, first: float, then: float
) -> None:
    """A retry, a delay, a time-out of a signal, and the retry of a compensation; the next worker keeps them."""
    is_up = threading.Event()
    policy = RetryPolicy(attempts=50, first_delay_s=1.5, factor=1.0, jitter=0.0)
    retried, delayed, asked, undone = Saga("retried"), Saga("delayed"), Saga("asked"), Saga("undone")

    def be_busy() -> None:
        if not is_up.is_set():
            raise StepUnavailable("not now")

    retried.step(retry=policy, compensation=None)(be_busy)
    delayed.delay("rest", 1.5)
    asked.wait_for("answer", timeout_s=1.5)

    @undone.step(retry=policy)
    def book() -> None:
        return None

    undone.compensates(book, retry=policy)(be_busy)
    undone.wait_for("word", timeout_s=0.01)

    clock.move(first)
    engine = start(retried, delayed, asked, undone)
    ids = {saga.name: engine.start(saga).saga_id for saga in (retried, delayed, asked, undone)}
    until(lambda: state_of(store, ids["retried"]).step("be_busy").waiting is not None)
    until(lambda: state_of(store, ids["undone"]).step("book").waiting is not None)
    engine.close()
    clock.move(then)
    is_up.set()
    engine = start(retried, delayed, asked, undone)
    ended = {name: engine.follow(saga_id).result(TIMEOUT_S).status for name, saga_id in ids.items()}
    assert ended == {
        "retried": SagaStatus.COMPLETED,
        "delayed": SagaStatus.COMPLETED,
        "asked": SagaStatus.COMPENSATED,
        "undone": SagaStatus.COMPENSATED,
    }


@pytest.mark.parametrize(("first", "then"), AHEAD_AND_BACK)
def test_a_deadline_that_was_recorded_while_the_clock_was_ahead_is_no_later_than_it_should_be(
    clock: MovedClock, start: Start, first: float, then: float
) -> None:
    """Counted from the takeover at most."""
    saga = Saga("slow", deadline_s=2.0)
    saga.wait_for("answer", timeout_s=None)
    clock.move(first)
    engine = start(saga)
    saga_id = engine.start(saga).saga_id
    engine.close()
    clock.move(then)
    result = start(saga).follow(saga_id).result(TIMEOUT_S)
    assert result.status is SagaStatus.COMPENSATED
    assert "deadline" in str(result.error)


def test_what_another_process_appends_does_not_make_a_wait_long_again(
    store: Store, clock: MovedClock, start: Start
) -> None:
    """A signal for which no step waits yet is read from the log, with the whole saga."""
    saga = Saga("delayed")
    saga.delay("rest", 3.0)
    saga.wait_for("answer", timeout_s=None)
    clock.move(DAY_S)
    engine = start(saga)
    saga_id = engine.start(saga).saga_id
    engine.close()
    clock.move(0.0)
    engine = start(saga)
    until(lambda: state_of(store, saga_id).owner == engine.worker_id)
    start().signal(saga_id, "answer", 7)
    assert engine.follow(saga_id).result(TIMEOUT_S).results["answer"] == 7


def test_a_saga_that_is_read_again_does_not_wait_anew(store: Store, clock: MovedClock, start: Start) -> None:
    """One that falls asleep after the takeover is read when its wait is over."""
    saga = Saga("delayed")
    saga.delay("rest", 1.5)
    clock.move(DAY_S)
    engine = start(saga)
    saga_id = engine.start(saga, {"text": "x" * 10_000}).saga_id
    engine.close()
    clock.move(0.0)
    assert start(saga, limits=Limits(payload_memory=1)).follow(saga_id).result(TIMEOUT_S).completed
    began, ended = (recorded.recorded_at for recorded in store.log.read(saga_id)[-3::2])
    assert ended - began < timedelta(seconds=TIMEOUT_S)


# ── A jump while a worker is at work ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_ends_no_saga_and_holds_none_up(store: Store, clock: MovedClock, start: Start, jump: float) -> None:
    """A deadline of ten minutes does not pass, nor does the time-out of a signal; a delay is over when it should be."""
    patient, delayed = Saga("patient", deadline_s=600.0), Saga("delayed")
    patient.wait_for("answer", timeout_s=600.0)
    delayed.delay("rest", 2.0)
    engine = start(patient, delayed)
    waits, rests = engine.start(patient), engine.start(delayed)
    clock.move(jump)
    beats(store, engine)
    assert rests.result(TIMEOUT_S).completed
    assert engine.start(delayed).result(TIMEOUT_S).completed
    clock.move(0.0)
    beats(store, engine)
    engine.signal(waits.saga_id, "answer", 7)
    assert waits.result(TIMEOUT_S).completed


def test_a_worker_that_begins_while_the_clock_is_ahead_holds_no_saga_up_when_it_is_set_right(
    store: Store, clock: MovedClock, start: Start
) -> None:
    """What it wrote meanwhile waits as long as it should, here and on the next worker; so does what it writes after."""
    is_up = threading.Event()
    retried, delayed, patient = Saga("retried"), Saga("delayed"), Saga("patient", deadline_s=600.0)
    policy = RetryPolicy(attempts=50, first_delay_s=1.5, factor=1.0, jitter=0.0)

    @retried.step(retry=policy, compensation=None)
    def be_busy() -> None:
        if not is_up.is_set():
            raise StepUnavailable("not now")

    delayed.delay("rest", 2.0)
    patient.wait_for("answer", timeout_s=600.0)
    clock.move(DAY_S)
    engine = start(retried, delayed, patient)
    retries, rests, waits = (engine.start(saga) for saga in (retried, delayed, patient))
    until(lambda: state_of(store, retries.saga_id).step("be_busy").waiting is not None)
    is_up.set()
    clock.move(0.0)
    beats(store, engine)
    assert retries.result(TIMEOUT_S).completed
    assert rests.result(TIMEOUT_S).completed
    assert engine.start(delayed).result(TIMEOUT_S).completed
    engine.close()
    engine = start(retried, delayed, patient)
    engine.signal(waits.saga_id, "answer", 7)
    assert engine.follow(waits.saga_id).result(TIMEOUT_S).completed


@pytest.mark.parametrize("jump", JUMPS)
def test_what_a_worker_records_does_not_jump(store: Store, clock: MovedClock, start: Start, jump: float) -> None:
    """The times of one stream never go back, and no day lies between two of them."""
    saga = Saga("asked")
    saga.wait_for("answer", timeout_s=None)
    engine = start(saga)
    handle = engine.start(saga)
    for off in (jump, 0.0):
        clock.move(off)
        beats(store, engine)
        engine.pause(handle.saga_id, reason="a look", actor="Ann")
        engine.resume(handle.saga_id, reason="seen", actor="Ann")
    engine.signal(handle.saga_id, "answer", 7)
    assert handle.result(TIMEOUT_S).completed
    times = [recorded.recorded_at for recorded in store.log.read(handle.saga_id)]
    assert times == sorted(times)
    assert times[-1] - times[0] < timedelta(seconds=3 * TIMEOUT_S)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_takes_no_saga_from_a_worker_that_lives(
    store: Store, clock: MovedClock, start: Start, jump: float
) -> None:
    """Two workers on one database: each keeps its own, though all heartbeats look a day old for a moment."""
    saga = Saga("asked")
    saga.wait_for("answer", timeout_s=None)
    engines = [start(saga), start(saga)]
    handles = [engine.start(saga) for engine in engines]
    for off in (jump, 0.0):
        clock.move(off)
        for engine in engines:
            beats(store, engine, times=3)
    for engine, handle in zip(engines, handles, strict=True):
        assert state_of(store, handle.saga_id).owner == engine.worker_id
        assert len(events_of(engine, handle.saga_id)) == 2
        engine.signal(handle.saga_id, "answer", 7)
        assert handle.result(TIMEOUT_S).completed


# ── Who counts as gone ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("process", [ELSEWHERE, Process.this()], ids=["elsewhere", "here"])
def test_after_a_jump_nobody_counts_as_gone_at_once(
    store: Store, clock: MovedClock, jump: float, process: Process
) -> None:
    """Who is silent from then on is buried after a lease; who sends a heartbeat is not."""
    workers = Workers(store.database, LEASE_S)
    for name in ("silent", "living"):
        workers.beat(name, process)
    assert workers.bury() == []
    clock.move(jump)
    assert workers.bury() == []

    def buried() -> list[str]:
        workers.beat("living", process)
        return workers.bury()

    until(lambda: buried() == ["silent"])
    assert set(workers.heartbeats()) == {"living"}


def test_a_worker_that_begins_after_a_jump_leaves_the_living_of_its_host_alone(store: Store, clock: MovedClock) -> None:
    """It has not seen the jump, and their heartbeats look a day old."""
    workers = Workers(store.database, LEASE_S)
    workers.beat("living", Process.this())
    clock.move(DAY_S)
    fresh = Workers(store.database, LEASE_S)
    assert fresh.bury() == []
    assert fresh.heartbeats().keys() == {"living"}
