"""Orders that come at the worst moment: many at once, from everywhere, and while the saga itself moves on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from saga_es.commands import Cancel, Command, Pause, Resume, Retry, SendSignal
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused, StepRejected, StoreUnavailable
from saga_es.runtime.engine import Engine
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.waiting import polling
from saga_es.runtime.waiting.clock import SystemClock
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import STEPS, Diary, Slow, Stop, bury, events_of, gathered, has_happened, trip, until

INPUT = {"n": 7}
ANN = ("Ann", "because")


def versions(engine: Engine, saga_id: str) -> list[int]:
    return [recorded.version for recorded in engine.read(saga_id)]


def give_all(givers: Sequence[Callable[[str, Command], None]], saga_id: str, orders: Sequence[Command]) -> list[str]:
    """Give the orders all at once, by the givers in turn; what each of them was told."""
    together = threading.Barrier(len(orders))

    def give(n: int) -> str:
        together.wait(TIMEOUT_S)
        try:
            givers[n % len(givers)](saga_id, orders[n])
        except CommandRefused:
            return "refused"
        except StoreUnavailable:
            return "not known"
        return "recorded"

    with ThreadPoolExecutor(len(orders)) as threads:
        return list(threads.map(give, range(len(orders))))


def test_of_many_cancels_at_once_one_is_recorded(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """From three engines and a command line: one aborts the saga, the others are told that it has."""
    stop = Stop(gate)
    engine = open_engine(trip(Diary(), {"hotel": stop}))
    others = [open_engine(), open_engine()]
    handle = engine.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    givers = [engine.submit, *(other.submit for other in others), Commands(store, SystemClock()).record]
    told = give_all(givers, handle.saga_id, [Cancel(f"Ann {n}", "because") for n in range(16)])
    gate.set()
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert sorted(told) == ["recorded"] + ["refused"] * 15
    events = events_of(engine, handle.saga_id)
    cancels = [event for event in events if isinstance(event, e.SagaCancelled)]
    assert cancels == [e.SagaCancelled(f"Ann {told.index('recorded')}", "because")]
    assert versions(engine, handle.saga_id) == list(range(1, len(events) + 1))


def test_each_signal_of_many_at_once_is_recorded_once(store: Store, open_engine: OpenEngine) -> None:
    """From three engines and a command line, to a saga that waits for something else: none is lost, none doubled."""
    saga = Saga("waiting")
    saga.wait_for("first", timeout_s=None)
    saga.wait_for("second", timeout_s=None)
    engine = open_engine(saga)
    others = [open_engine(saga), open_engine()]
    handle = engine.start(saga)
    givers = [engine.submit, *(other.submit for other in others), Commands(store, SystemClock()).record]
    told = give_all(givers, handle.saga_id, [SendSignal("second", n) for n in range(40)])
    engine.signal(handle.saga_id, "first")
    result = handle.result(TIMEOUT_S)
    events = events_of(engine, handle.saga_id)
    given = [event.payload for event in events if isinstance(event, e.SignalReceived) and event.signal == "second"]
    recorded = {n for n in range(40) if told[n] == "recorded"}
    assert recorded <= set(given) <= recorded | {n for n in range(40) if told[n] == "not known"}
    assert len(given) == len(set(given))
    assert "refused" not in told
    assert result.results["second"] == given[0]
    assert versions(engine, handle.saga_id) == list(range(1, len(events) + 1))


def test_pauses_and_resumes_from_everywhere_leave_a_saga_whole(open_engine: OpenEngine) -> None:
    """While it goes through its steps, three engines pause and resume it at random: each call is made once."""
    diary = Diary()
    steps = tuple(f"step_{n}" for n in range(20))
    saga = trip(diary, steps=steps)
    engine = open_engine(saga)
    others = [engine, open_engine(), open_engine()]
    handle = engine.start(saga, INPUT)

    def meddle(other: Engine) -> None:
        for n in range(10):
            try:
                other.submit(handle.saga_id, Pause(*ANN) if n % 2 else Resume(*ANN))
            except CommandRefused:
                continue

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(meddle, others))
    until(lambda: _resumed(engine, handle.saga_id))
    assert handle.result(TIMEOUT_S).completed
    assert diary.names == list(steps)
    events = events_of(engine, handle.saga_id)
    assert versions(engine, handle.saga_id) == list(range(1, len(events) + 1))
    paused = [event for event in events if isinstance(event, e.SagaPaused | e.SagaResumed)]
    assert [type(event) for event in paused] == [e.SagaPaused, e.SagaResumed] * (len(paused) // 2)


def _resumed(engine: Engine, saga_id: str) -> bool:
    """Whether nothing holds the saga up any more; it is resumed if need be.

    The log says so, not a refusal: the owner may not have read the last pause yet, and refuse to resume.
    """
    with suppress(CommandRefused):
        engine.submit(saga_id, Resume(*ANN))
    found = [event for event in events_of(engine, saga_id) if isinstance(event, e.SagaPaused | e.SagaResumed)]
    return not found or isinstance(found[-1], e.SagaResumed)


def waiting_saga() -> Saga:
    saga = Saga("waiting")
    saga.wait_for("answer", timeout_s=None)
    return saga


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that look for notifications once, and not again in this test."""
    monkeypatch.setattr(polling, "QUICK_S", 3600.0)
    monkeypatch.setattr(polling, "SLOW_S", 3600.0)


PAUSE, RESUME = Pause(*ANN), Resume(*ANN)


@pytest.mark.usefixtures("seldom")
@pytest.mark.parametrize(
    ("here", "elsewhere", "then"),
    [
        ([], [PAUSE], RESUME),
        ([PAUSE], [RESUME], PAUSE),
        ([], [*[SendSignal("answer", n) for n in range(3)], PAUSE], RESUME),
    ],
    ids=["resume after a pause", "pause after a resume", "resume after signals and a pause"],
)
def test_a_command_is_refused_by_the_log_and_not_by_what_its_owner_has_read(
    store: Store, open_engine: OpenEngine, here: list[Command], elsewhere: list[Command], then: Command
) -> None:
    """Another process recorded commands a moment ago, and the owner has not heard of them yet."""
    saga = waiting_saga()
    engine = open_engine(saga)
    handle = engine.start(saga)
    for command in here:
        engine.submit(handle.saga_id, command)
    for command in elsewhere:
        Commands(store, SystemClock()).record(handle.saga_id, command)
    engine.submit(handle.saga_id, then)
    events = events_of(engine, handle.saga_id)
    followed = [event for event in events if isinstance(event, e.SagaPaused | e.SagaResumed)]
    given = [command for command in [*here, *elsewhere, then] if not isinstance(command, SendSignal)]
    assert followed == [(e.SagaPaused if isinstance(command, Pause) else e.SagaResumed)(*ANN) for command in given]
    assert versions(engine, handle.saga_id) == list(range(1, len(events) + 1))


@pytest.mark.usefixtures("seldom")
def test_a_command_that_the_log_refuses_too_is_refused_once(store: Store, open_engine: OpenEngine) -> None:
    """The owner learns what others recorded, and does not ask again and again."""
    saga = waiting_saga()
    engine = open_engine(saga)
    handle = engine.start(saga)
    with pytest.raises(CommandRefused, match="not paused"):
        engine.submit(handle.saga_id, RESUME)
    Commands(store, SystemClock()).record(handle.saga_id, SendSignal("answer", 7))
    with pytest.raises(CommandRefused, match=r"not paused|has ended"):
        engine.submit(handle.saga_id, RESUME)
    assert handle.result(TIMEOUT_S).results == {"answer": 7}


@pytest.mark.usefixtures("seldom")
def test_a_command_to_a_saga_that_another_worker_took_over_is_decided_there(
    store: Store, open_engine: OpenEngine
) -> None:
    """The worker before, which believes that the saga is its own, refuses nothing that the log would accept."""
    saga = waiting_saga()
    engine = open_engine(saga)
    handle = engine.start(saga)
    bury(store, engine)
    other = open_engine(saga)
    until(lambda: has_happened(other, handle.saga_id, e.SagaTakenOver))
    other.submit(handle.saga_id, PAUSE)
    engine.submit(handle.saga_id, RESUME)
    assert isinstance(events_of(engine, handle.saga_id)[-1], e.SagaResumed)


def test_a_refusal_that_waits_for_a_batch_comes_after_what_it_is_based_on(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """Two pauses gather, and another process cancels meanwhile: both are decided anew, after the cancel."""
    stop, slow = Stop(gate), Slow(store)
    engine = open_engine(trip(Diary(), {"hotel": stop}), writer=slow)
    handle = engine.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    holding = slow.hold(engine)
    with ThreadPoolExecutor(2) as threads:
        told = [threads.submit(give_all, [engine.submit], handle.saga_id, [PAUSE]) for _ in range(2)]
        gathered(engine, 2)
        Commands(store, SystemClock()).record(handle.saga_id, Cancel(*ANN))
        slow.may_write.set()
        assert sorted(one for answers in told for one in answers.result(TIMEOUT_S)) == ["recorded", "refused"]
    holding.join(TIMEOUT_S)
    events = events_of(engine, handle.saga_id)
    assert [type(event) for event in events if isinstance(event, e.SagaCancelled | e.SagaPaused)] == [
        e.SagaCancelled,
        e.SagaPaused,
    ]
    gate.set()
    engine.submit(handle.saga_id, RESUME)
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED


def test_a_resume_begins_each_call_once(open_engine: OpenEngine, gate: threading.Event) -> None:
    """What follows from the answer that was heard during the pause is begun together with its end, and once."""
    diary, stop = Diary(), Stop(gate)
    engine = open_engine(trip(diary, {"hotel": stop}))
    handle = engine.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    engine.submit(handle.saga_id, Pause(*ANN))
    gate.set()
    until(lambda: not isinstance(events_of(engine, handle.saga_id)[-1], e.SagaPaused | e.StepStarted))
    engine.submit(handle.saga_id, Resume(*ANN))
    assert handle.result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)


def test_a_cancel_at_any_moment_ends_the_saga_one_way_or_the_other(open_engine: OpenEngine) -> None:
    """Forty sagas, each cancelled a little later than the one before, by its own engine or another.

    Either the cancel was recorded, and all that was done is undone; or it was refused, and the saga is COMPLETED.
    """
    diary = Diary()
    saga = trip(diary)
    engine, other = open_engine(saga), open_engine()
    for n in range(40):
        handle = engine.start(saga, {"n": n})
        threading.Event().wait(n / 2000)
        try:
            (engine, other)[n % 2].submit(handle.saga_id, Cancel(*ANN))
        except CommandRefused:
            expected: object = e.SagaCompleted()
        else:
            expected = e.SagaCompensated()
        handle.result(TIMEOUT_S)
        assert events_of(engine, handle.saga_id)[-1] == expected
        assert versions(engine, handle.saga_id) == list(range(1, len(versions(engine, handle.saga_id)) + 1))


def test_a_retry_that_comes_with_the_failure_reopens_the_saga(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """Both are in one batch, so the saga is FAILED and not yet nobody's: it runs on all the same, and is not stuck."""
    diary, stop, slow = Diary(), Stop(gate), Slow(store)
    saga = Saga("shop")

    @saga.step(kind="pivot", compensation=None)
    def pay() -> None:
        pass

    @saga.step(kind="retriable")
    def ship(key: str) -> str:
        if diary.note("ship", key) == 1:
            stop(1)
            raise StepRejected("no such address")
        return "shipped"

    engine = open_engine(saga, writer=slow)
    handle = engine.start(saga)
    assert stop.arrived.wait(TIMEOUT_S)
    holding = slow.hold(engine)
    gate.set()
    gathered(engine, 1)
    with ThreadPoolExecutor(1) as threads:
        ordered = threads.submit(engine.submit, handle.saga_id, Retry(*ANN))
        gathered(engine, 2)
        slow.may_write.set()
        ordered.result(TIMEOUT_S)
    holding.join(TIMEOUT_S)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    until(lambda: events_of(engine, handle.saga_id)[-1] == e.SagaCompleted())
    assert diary.names == ["ship", "ship"]


def test_commands_of_other_engines_that_come_in_the_middle_of_a_batch_are_followed(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """The answer of a call is lost to nobody: it is decided on again, after what the other engine recorded."""
    diary, stop, slow = Diary(), Stop(gate), Slow(store)
    engine = open_engine(trip(diary, {"hotel": stop}), writer=slow)
    handle = engine.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    holding = slow.hold(engine)
    gate.set()
    gathered(engine, 1)
    Commands(store, SystemClock()).record(handle.saga_id, Pause(*ANN))
    slow.may_write.set()
    holding.join(TIMEOUT_S)
    until(lambda: not isinstance(events_of(engine, handle.saga_id)[-1], e.SagaPaused | e.StepStarted))
    assert diary.names == ["car", "hotel"]
    engine.submit(handle.saga_id, Resume(*ANN))
    assert handle.result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)
