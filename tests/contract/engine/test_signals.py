"""What a saga waits for: times that come, and signals that somebody gives; both outlive any engine."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused, NotFound, PayloadTooLarge, PayloadUnencodable
from saga_es.runtime.handle import SagaResult
from saga_es.store.log.codec import DEFAULT_PAYLOAD_LIMIT
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import Stop, crash, events_of, has_happened, until


def approval(timeout_s: float | None = None, *, act: Stop | None = None) -> Saga:
    """A saga that asks somebody, waits for the answer, and tells what it was."""
    saga = Saga("approval")

    @saga.step(compensation=None)
    def ask() -> str:
        if act is not None:
            act(1)
        return "asked"

    saga.wait_for("answer", timeout_s=timeout_s)

    @saga.step(compensation=None)
    def told(answer: Any) -> Any:
        return answer

    return saga


def nap(seconds: float | str) -> Saga:
    saga = Saga("nap")
    saga.delay("sleep", seconds)

    @saga.step(compensation=None)
    def wake() -> str:
        return datetime.now(UTC).isoformat()

    return saga


# ── Delays ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seconds", [0.3, "input[grace_s]"], ids=["fixed", "from the input"])
def test_a_delay_ends_when_its_time_has_come_and_not_before(open_engine: OpenEngine, seconds: float | str) -> None:
    """What comes after it starts at the recorded time, whether the saga says how long or its input does."""
    saga = nap(seconds)
    engine = open_engine(saga)
    handle = engine.start(saga, {"grace_s": 0.3})
    result = handle.result(TIMEOUT_S)
    (wait,) = [event for event in events_of(engine, handle.saga_id) if isinstance(event, e.WaitStarted)]
    assert wait.until is not None
    started_at = engine.read(handle.saga_id)[0].recorded_at
    assert (wait.until - started_at).total_seconds() == pytest.approx(0.3)
    assert wait.until <= datetime.fromisoformat(result.results["wake"])


def test_a_delay_outlives_a_crash(store: Store, open_engine: OpenEngine) -> None:
    """The next engine waits for what is left of it: not from the beginning, and not less."""
    saga = nap(1.0)
    first = open_engine(saga)
    handle = first.start(saga)
    crash(store, first)
    second = open_engine(saga)
    result = second.follow(handle.saga_id).result(TIMEOUT_S)
    waits = [event for event in events_of(second, handle.saga_id) if isinstance(event, e.WaitStarted)]
    assert len(waits) == 1
    assert waits[0].until is not None
    assert waits[0].until <= datetime.fromisoformat(result.results["wake"])


def test_a_delay_that_ended_while_nobody_ran_is_over_at_once(store: Store, open_engine: OpenEngine) -> None:
    """The time came between the crash and the next engine: the saga goes on as soon as it is taken over."""
    saga = nap(0.2)
    first = open_engine(saga)
    handle = first.start(saga)
    crash(store, first)
    until(lambda: datetime.now(UTC) > first.read(handle.saga_id)[1].event.until)
    assert open_engine(saga).follow(handle.saga_id).result(TIMEOUT_S).completed


def test_a_delay_that_nobody_can_tell_aborts_the_saga(open_engine: OpenEngine) -> None:
    """The input says no number: the saga is compensated, with the reason, and nobody is disturbed."""
    saga = nap("input[grace_s]")
    engine = open_engine(saga)
    for given in ({}, {"grace_s": "long"}, {"grace_s": 1e300}):
        result = engine.start(saga, given).result(TIMEOUT_S)
        assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "sleep")
        assert "the length of the wait cannot be computed" in str(result.error)
    assert engine.start(saga, {"grace_s": 0.01}).result(TIMEOUT_S).completed


# ── Signals ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_signal_ends_the_wait_and_is_the_result(open_engine: OpenEngine) -> None:
    """Whatever has a JSON form can be said."""
    saga = approval()
    engine = open_engine(saga)
    for payload in (None, True, {"by": "Ann", "words": "ja ✓"}, [1, [2.5]], "yes"):
        handle = engine.start(saga)
        engine.signal(handle.saga_id, "answer", payload)
        assert handle.result(TIMEOUT_S).results == {"ask": "asked", "answer": payload, "told": payload}


def test_a_signal_that_comes_early_is_kept(open_engine: OpenEngine, gate: threading.Event) -> None:
    """It is in the log before its step starts; the step is done the moment it does. The first one counts."""
    stop = Stop(gate)
    saga = approval(act=stop)
    engine = open_engine(saga)
    handle = engine.start(saga)
    assert stop.arrived.wait(TIMEOUT_S)
    engine.signal(handle.saga_id, "answer", 1)
    engine.signal(handle.saga_id, "answer", 2)
    gate.set()
    assert handle.result(TIMEOUT_S).results["answer"] == 1


def test_an_early_signal_outlives_a_crash(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """The giver was told that it is in the log, and so it is, whoever runs the saga then."""
    stop = Stop(gate)
    first = open_engine(approval(act=stop))
    handle = first.start("approval")
    assert stop.arrived.wait(TIMEOUT_S)
    first.signal(handle.saga_id, "answer", "early")
    crash(store, first)
    second = open_engine(approval())
    assert second.follow(handle.saga_id).result(TIMEOUT_S).results["told"] == "early"


def test_a_signal_with_a_key_is_one_signal_however_often_it_is_given(
    open_engine: OpenEngine, gate: threading.Event
) -> None:
    """While it is kept, after it was used, and after the saga's end: the same key changes nothing, another one does."""
    stop = Stop(gate)
    saga = Saga("twice")

    @saga.step(compensation=None)
    def begin() -> None:
        stop(1)

    saga.wait_for("paid", timeout_s=None)
    engine, other = open_engine(saga), open_engine(saga)
    handle = engine.start(saga)
    assert stop.arrived.wait(TIMEOUT_S)
    for engine_ in (engine, engine, other):
        engine_.signal(handle.saga_id, "paid", 1, key="invoice 7")
        with pytest.raises(CommandRefused, match="another payload came under this key"):
            engine_.signal(handle.saga_id, "paid", 2, key="invoice 7")
    gate.set()
    assert handle.result(TIMEOUT_S).results["paid"] == 1
    for engine_ in (engine, other):
        engine_.signal(handle.saga_id, "paid", 1, key="invoice 7")
        with pytest.raises(CommandRefused, match="it has ended"):
            engine_.signal(handle.saga_id, "paid", 5, key="invoice 8")
    given = [event for event in events_of(engine, handle.saga_id) if isinstance(event, e.SignalReceived)]
    assert given == [e.SignalReceived("paid", 1, "invoice 7")]


def test_a_wait_that_is_over_aborts_the_saga(open_engine: OpenEngine) -> None:
    """Nobody answered in time: the step failed, and a signal that comes now is refused."""
    saga = approval(timeout_s=0.2)
    engine = open_engine(saga)
    handle = engine.start(saga)
    result = handle.result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "answer")
    assert result.error == "the signal 'answer' did not come within 0.2 s"
    with pytest.raises(CommandRefused):
        engine.signal(handle.saga_id, "answer", "late")


def test_the_time_of_a_wait_outlives_a_crash(store: Store, open_engine: OpenEngine) -> None:
    """The next engine aborts the saga when the time is over that the log names."""
    saga = approval(timeout_s=0.7)
    first = open_engine(saga)
    handle = first.start(saga)
    until(lambda: has_happened(first, handle.saga_id, e.WaitStarted))
    crash(store, first)
    second = open_engine(saga)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    history = second.read(handle.saga_id)
    (wait,) = [recorded.event for recorded in history if isinstance(recorded.event, e.WaitStarted)]
    assert wait.until is not None
    assert wait.until <= history[-1].recorded_at


def test_a_signal_reaches_a_saga_that_another_engine_runs(open_engine: OpenEngine) -> None:
    """It is in the log when `signal` returns, and its owner hears of it within a moment, without being asked."""
    saga = approval()
    owner, other = open_engine(saga), open_engine()
    handle = owner.start(saga)
    until(lambda: has_happened(owner, handle.saga_id, e.WaitStarted))
    other.signal(handle.saga_id, "answer", "from afar")
    assert e.SignalReceived("answer", "from afar") in events_of(owner, handle.saga_id)
    asked = time.monotonic()
    assert handle.result(TIMEOUT_S).results["told"] == "from afar"
    assert time.monotonic() - asked < 2


def test_a_signal_reaches_a_saga_that_an_engine_runs_which_takes_nothing_over(open_engine: OpenEngine) -> None:
    """An engine that leaves orphans to others still hears what concerns the sagas of its own."""
    saga = approval()
    owner, other = open_engine(saga, recovers=False), open_engine()
    handle = owner.start(saga)
    until(lambda: has_happened(owner, handle.saga_id, e.WaitStarted))
    other.signal(handle.saga_id, "answer", "from afar")
    assert handle.result(TIMEOUT_S).results["told"] == "from afar"


def test_a_signal_reaches_a_saga_that_nobody_runs(store: Store, open_engine: OpenEngine) -> None:
    """Its engine is gone; the signal is recorded all the same, and the next engine finds it."""
    saga = approval()
    first = open_engine(saga)
    handle = first.start(saga)
    until(lambda: has_happened(first, handle.saga_id, e.WaitStarted))
    crash(store, first)
    open_engine().signal(handle.saga_id, "answer", "meanwhile")
    second = open_engine(saga)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).results["told"] == "meanwhile"


def test_a_signal_that_no_saga_can_take_is_refused_with_the_reason(open_engine: OpenEngine) -> None:
    """An unknown saga, an unknown signal, too much, or nothing that JSON can say; the saga goes on."""
    saga = approval()
    engine, other = open_engine(saga), open_engine()
    handle = engine.start(saga)
    for giver in (engine, other):
        with pytest.raises(NotFound):
            giver.signal("no-such-saga", "answer")
        with pytest.raises(CommandRefused, match="no signal 'ask'; there is answer"):
            giver.signal(handle.saga_id, "ask")
        with pytest.raises(PayloadTooLarge):
            giver.signal(handle.saga_id, "answer", "x" * 2 * DEFAULT_PAYLOAD_LIMIT)
        for unsayable in (object(), "\ud800", {1j: 1}):
            with pytest.raises(PayloadUnencodable):
                giver.signal(handle.saga_id, "answer", unsayable)
    engine.signal(handle.saga_id, "answer", "yes")
    assert handle.result(TIMEOUT_S).completed


def test_a_signal_may_hold_any_text_there_is(open_engine: OpenEngine) -> None:
    """NUL, quotes and signs beyond the basic plane come out as they went in, from here and from afar."""
    saga = approval()
    engine, other = open_engine(saga), open_engine()
    words = {"nul": "a\0b", "quoted": "\"'\\%:x", "sign": "\U0001f680", "\0": "\u2028"}
    for giver in (engine, other):
        handle = engine.start(saga)
        giver.signal(handle.saga_id, "answer", words, key="\0")
        assert handle.result(TIMEOUT_S).results["told"] == words


# ── Many ─────────────────────────────────────────────────────────────────────────────────────────────────

MANY = 2000


def test_thousands_of_waiting_sagas_hold_no_thread(open_engine: OpenEngine) -> None:
    """They all wait on one engine, which has no more threads for them than for one; signalled, they all end."""
    saga = Saga("waiting")
    saga.wait_for("go", timeout_s=None)
    engine = open_engine(saga)
    engine.start(saga).started(TIMEOUT_S)
    before = threading.active_count()
    handles = [engine.start(saga, {"n": n}, wait=False) for n in range(MANY)]
    for handle in handles:
        handle.started(TIMEOUT_S)
    assert engine.active == MANY + 1
    assert threading.active_count() <= before
    givers = [threading.Thread(target=_signal_all, args=(engine, handles[n::20])) for n in range(20)]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join(TIMEOUT_S)
    results: list[SagaResult] = [handle.result(TIMEOUT_S) for handle in handles]
    assert all(result.results == {"go": "now"} for result in results)
    assert engine.active == 1
    assert len(engine._worker._timers) < 10


def _signal_all(engine: Any, handles: list[Any]) -> None:
    for handle in handles:
        engine.signal(handle.saga_id, "go", "now")


def test_a_step_that_waits_is_done_once_though_many_signals_come(open_engine: OpenEngine) -> None:
    """Of the signals that two engines give at once one is the result; the others stay behind, and harm nobody."""
    saga = approval()
    engine, other = open_engine(saga), open_engine()
    handle = engine.start(saga)
    outcomes: list[str] = []

    def give(giver: Any, n: int) -> None:
        try:
            giver.signal(handle.saga_id, "answer", n)
        except CommandRefused:
            outcomes.append("refused")
        else:
            outcomes.append("recorded")

    givers = [threading.Thread(target=give, args=((engine, other)[n % 2], n)) for n in range(12)]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join(TIMEOUT_S)
    assert handle.result(TIMEOUT_S).completed
    events = events_of(engine, handle.saga_id)
    signals = [event.payload for event in events if isinstance(event, e.SignalReceived)]
    done = [event for event in events if isinstance(event, e.StepCompleted) and event.step == "answer"]
    assert done == [e.StepCompleted("answer", signals[0])]
    assert len(signals) == outcomes.count("recorded")
    assert [recorded.version for recorded in engine.read(handle.saga_id)] == list(range(1, len(events) + 1))
