"""Orders from people, on real databases: to a saga run here, run elsewhere, run by nobody, and ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from saga_es.commands import Cancel, Command, Pause, ReplaceInput, Resolve, Resume, Retry, Skip
from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused, NotFound, PayloadUnencodable, StepRejected, StepUnavailable
from saga_es.runtime.engine import Engine
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.waiting.clock import SystemClock
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import (
    ONCE,
    QUICK,
    STEPS,
    Diary,
    Stop,
    crash,
    events_of,
    has_happened,
    raising,
    trip,
    until,
    worker_of,
)

INPUT = {"n": 7}
ANN = ("Ann", "because")
LATER = RetryPolicy(attempts=3, first_delay_s=3600, jitter=0)

Giver = Callable[[str, Command], None]


@pytest.fixture(params=["here", "elsewhere", "without an engine"])
def give(request: pytest.FixtureRequest, store: Store, open_engine: OpenEngine) -> Callable[[Engine], Giver]:
    """How an order reaches a saga: through the engine that owns it, through another, or as a command line does."""

    def of(owner: Engine) -> Giver:
        match request.param:
            case "here":
                return owner.submit
            case "elsewhere":
                return open_engine().submit
            case _:
                return Commands(store, SystemClock()).record

    return of


SendSignal = Callable[[Engine], Giver]


def state_of(store: Store, saga_id: str) -> SagaState:
    state = store.sagas.find(saga_id)
    assert state is not None
    return state


def orders_in(engine: Engine, saga_id: str) -> list[e.SagaEvent]:
    kinds = (
        e.SagaCancelled,
        e.SagaPaused,
        e.SagaResumed,
        e.RetryOrdered,
        e.SagaReopened,
        e.SagaResolved,
        e.InputReplaced,
    )
    return [event for event in events_of(engine, saga_id) if isinstance(event, kinds)]


def ends(store: Store, saga_id: str, status: SagaStatus) -> SagaState:
    """The saga, as soon as it has ended so: of one that had ended before, a handle would tell the end before."""
    until(lambda: state_of(store, saga_id).status is status)
    return state_of(store, saga_id)


# ── Of a saga that runs ──────────────────────────────────────────────────────────────────────────────────


def test_a_cancelled_saga_is_compensated(open_engine: OpenEngine, gate: threading.Event, give: SendSignal) -> None:
    """The call that is out is awaited, and compensated with the others; the log says who wanted it, and why."""
    diary, stop = Diary(), Stop(gate)
    engine = open_engine(trip(diary, {"flight": stop}))
    handle = engine.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    give(engine)(handle.saga_id, Cancel(*ANN))
    gate.set()
    result = handle.result(TIMEOUT_S)
    assert (result.status, result.error) == (SagaStatus.COMPENSATED, "cancelled by Ann: because")
    assert diary.names == ["car", "hotel", "flight", "undo flight", "undo hotel", "undo car"]
    assert orders_in(engine, handle.saga_id) == [e.SagaCancelled(*ANN)]


def test_a_paused_saga_begins_nothing_until_it_is_resumed(
    open_engine: OpenEngine, gate: threading.Event, give: SendSignal
) -> None:
    """The answer of the call that is out is heard, and nothing follows from it; then everything does, once."""
    diary, stop = Diary(), Stop(gate)
    engine = open_engine(trip(diary, {"hotel": stop}))
    order = give(engine)
    handle = engine.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    order(handle.saga_id, Pause(*ANN))
    gate.set()
    until(lambda: events_of(engine, handle.saga_id)[-1] not in (e.SagaPaused(*ANN), e.StepStarted("hotel", 1)))
    with pytest.raises(TimeoutError):
        handle.result(0.3)
    assert diary.names == ["car", "hotel"]
    order(handle.saga_id, Resume(*ANN))
    assert handle.result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)
    assert orders_in(engine, handle.saga_id) == [e.SagaPaused(*ANN), e.SagaResumed(*ANN)]


def test_a_pause_outlives_a_crash(
    store: Store, open_engine: OpenEngine, gate: threading.Event, give: SendSignal
) -> None:
    """The next engine takes the saga over and makes not even the call that was out, until somebody resumes it."""
    before, after, stop = Diary(), Diary(), Stop(gate)
    first = open_engine(trip(before, {"hotel": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    give(first)(handle.saga_id, Pause(*ANN))
    crash(store, first)
    second = open_engine(trip(after))
    until(lambda: has_happened(second, handle.saga_id, e.SagaTakenOver))
    with pytest.raises(TimeoutError):
        second.follow(handle.saga_id).result(0.3)
    assert after.calls == []
    give(second)(handle.saga_id, Resume(*ANN))
    assert second.follow(handle.saga_id).result(TIMEOUT_S).completed
    assert after.names == ["hotel", "flight", "bill"]
    assert before.keys("hotel") == after.keys("hotel")


def test_a_retry_that_would_come_in_an_hour_comes_now(open_engine: OpenEngine, give: SendSignal) -> None:
    """Forward and back: whoever waits for a retry need not, when a person says so."""
    diary, busy = Diary(), StepUnavailable("busy")
    acts = {"hotel": raising(busy, 1), "bill": raising(StepRejected("no")), "undo hotel": raising(busy, 1)}
    engine = open_engine(trip(diary, acts, retry=LATER))
    order = give(engine)
    handle = engine.start("trip", INPUT)
    until(lambda: has_happened(engine, handle.saga_id, e.StepFailed))
    order(handle.saga_id, Retry(*ANN))
    until(lambda: type(events_of(engine, handle.saga_id)[-1]).__name__ == "CompensationFailed")
    order(handle.saga_id, Retry(*ANN))
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert len(diary.keys("hotel")) == len(diary.keys("undo hotel")) == 2


def test_a_command_to_a_saga_that_nobody_runs_is_followed_by_whoever_takes_it(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """It is recorded while no engine is there at all."""
    before, after, stop = Diary(), Diary(), Stop(gate)
    first = open_engine(trip(before, {"hotel": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    crash(store, first)
    Commands(store, SystemClock()).record(handle.saga_id, Cancel(*ANN))
    second = open_engine(trip(after))
    assert second.follow(handle.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert after.names == ["hotel", "undo hotel", "undo car"]


# ── Of a saga that is FAILED ─────────────────────────────────────────────────────────────────────────────


def failed_back(diary: Diary, times: int | None = None) -> Saga:
    """A trip that aborts at its third step, and whose hotel cannot be undone so many times."""
    acts = {"flight": raising(StepRejected("no")), "undo hotel": raising(StepUnavailable("shut"), times)}
    return trip(diary, acts, steps=("car", "hotel", "flight"))


def failed_forward(diary: Diary, times: int | None = None) -> Saga:
    """A saga with a pivot behind which a step is refused so many times."""
    saga = Saga("shop")

    @saga.step(kind="pivot", compensation=None)
    def pay(key: str) -> str:
        diary.note("pay", key)
        return "paid"

    @saga.step(kind="retriable", retry=QUICK)
    def ship(input: dict[str, Any], key: str) -> Any:  # noqa: A002 (the name a step asks for)
        count = diary.note("ship", key)
        if times is None or count <= times:
            raise StepRejected("no such address")
        return input

    @saga.step(kind="retriable", retry=QUICK)
    def thank(key: str) -> str:
        diary.note("thank", key)
        return "thanks"

    return saga


def test_a_compensation_that_was_given_up_is_tried_again(store: Store, open_engine: OpenEngine) -> None:
    """With all the attempts its policy allows, and the same key; any engine takes it up."""
    diary = Diary()
    engine = open_engine(failed_back(diary, times=5))
    handle = engine.start("trip", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    engine.submit(handle.saga_id, Retry(*ANN))
    ends(store, handle.saga_id, SagaStatus.COMPENSATED)
    assert diary.names[3:] == ["undo hotel"] * 6 + ["undo car"]
    assert len(set(diary.keys("undo hotel"))) == 1
    assert engine.follow(handle.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPENSATED


def test_a_compensation_is_skipped_with_a_note(store: Store, open_engine: OpenEngine) -> None:
    """The rest is compensated, and the log says who took it for done."""
    diary = Diary()
    engine = open_engine(failed_back(diary))
    handle = engine.start("trip", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    engine.submit(handle.saga_id, Skip("hotel", *ANN))
    ends(store, handle.saga_id, SagaStatus.COMPENSATED)
    assert diary.names[3:] == ["undo hotel"] * 3 + ["undo car"]
    assert e.CompensationSkipped("hotel", *ANN) in events_of(engine, handle.saga_id)


def test_a_step_behind_the_pivot_is_retried(store: Store, open_engine: OpenEngine) -> None:
    """What was refused once is not refused for ever."""
    diary = Diary()
    engine = open_engine(failed_forward(diary, times=1))
    handle = engine.start("shop", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    engine.submit(handle.saga_id, Retry(*ANN))
    ends(store, handle.saga_id, SagaStatus.COMPLETED)
    assert diary.names == ["pay", "ship", "ship", "thank"]


def test_a_step_behind_the_pivot_is_skipped_with_a_note(store: Store, open_engine: OpenEngine) -> None:
    """The saga goes on without it, and has no result of it."""
    diary = Diary()
    engine = open_engine(failed_forward(diary))
    handle = engine.start("shop", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    engine.submit(handle.saga_id, Skip("ship", *ANN))
    assert ends(store, handle.saga_id, SagaStatus.COMPLETED).results == {"pay": "paid", "thank": "thanks"}
    assert e.StepSkipped("ship", *ANN) in events_of(engine, handle.saga_id)


def test_a_step_gets_another_input_and_is_tried_again(store: Store, open_engine: OpenEngine) -> None:
    """That one step alone; the saga's input stays what it was."""
    diary = Diary()
    engine = open_engine(failed_forward(diary, times=1))
    handle = engine.start("shop", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    engine.submit(handle.saga_id, ReplaceInput("ship", {"to": "Rue Zoë"}, *ANN))
    state = ends(store, handle.saga_id, SagaStatus.COMPLETED)
    assert (state.results["ship"], state.input) == ({"to": "Rue Zoë"}, INPUT)


def test_a_saga_is_resolved_by_hand(open_engine: OpenEngine, give: SendSignal) -> None:
    """Nothing is called; the end is what the person says, by default what the saga was going for."""
    diary = Diary()
    engine = open_engine(failed_back(diary))
    order = give(engine)
    ways: list[tuple[Any, str]] = [
        (None, "COMPENSATED"),
        ("COMPLETED", "COMPLETED"),
        ("COMPENSATED", "COMPENSATED"),
    ]
    for status, end in ways:
        handle = engine.start("trip", INPUT)
        assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
        calls = diary.names[:]
        order(handle.saga_id, Resolve(*ANN, status))
        assert engine.follow(handle.saga_id).result(TIMEOUT_S).status == end
        assert diary.names == calls


def test_a_failed_saga_is_taken_up_by_an_engine_that_knows_it(store: Store, open_engine: OpenEngine) -> None:
    """Its own engine is gone; the order goes through one that has no definitions at all."""
    diary = Diary()
    first = open_engine(failed_back(diary, times=3))
    handle = first.start("trip", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    crash(store, first)
    second = open_engine(trip(diary, steps=("car", "hotel", "flight")))
    open_engine().submit(handle.saga_id, Retry(*ANN))
    ends(store, handle.saga_id, SagaStatus.COMPENSATED)
    assert e.SagaTakenOver(worker_of(second), None) in events_of(second, handle.saga_id)


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────

ALL = (
    *(Cancel(*ANN), Pause(*ANN), Resume(*ANN), Retry(*ANN)),
    *(Skip("car", *ANN), ReplaceInput("car", {}, *ANN), Resolve(*ANN)),
)


def test_a_saga_that_has_ended_takes_no_command(open_engine: OpenEngine, give: SendSignal) -> None:
    """Each is refused with the reason, and nothing is recorded."""
    engine = open_engine(trip(Diary()))
    order = give(engine)
    handle = engine.start("trip", INPUT)
    assert handle.result(TIMEOUT_S).completed
    history = events_of(engine, handle.saga_id)
    for one in ALL:
        with pytest.raises(CommandRefused, match="COMPLETED"):
            order(handle.saga_id, one)
        with pytest.raises(NotFound):
            order("no-such-saga", one)
    assert events_of(engine, handle.saga_id) == history


def test_a_command_that_cannot_be_followed_now_is_refused_and_disturbs_nobody(
    open_engine: OpenEngine, gate: threading.Event, give: SendSignal
) -> None:
    """The saga is in its first call: there is nothing to resume, to retry, to skip, to replace or to resolve."""
    diary, stop = Diary(), Stop(gate)
    engine = open_engine(trip(diary, {"car": stop}, retry=ONCE))
    order = give(engine)
    handle = engine.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    for one in ALL[2:]:
        with pytest.raises(CommandRefused):
            order(handle.saga_id, one)
    gate.set()
    assert handle.result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)
    assert orders_in(engine, handle.saga_id) == []


def test_a_command_without_a_name_or_a_reason_is_refused(open_engine: OpenEngine) -> None:
    """Each order says who gave it and why, in words that every database stores."""
    saga = Saga("waiting")
    saga.wait_for("go", timeout_s=None)
    engine = open_engine(saga)
    handle = engine.start(saga)
    until(lambda: has_happened(engine, handle.saga_id, e.WaitStarted))
    bad: tuple[Any, ...] = (Pause("", "why"), Pause("Ann", " "), Pause("Ann", "x" * 2001), Pause(5, "why"))  # type: ignore[arg-type]  # on purpose
    for order in (*bad, Pause("\ud800", "why"), ReplaceInput("go", {"a": object()}, *ANN)):
        with pytest.raises(PayloadUnencodable):
            engine.submit(handle.saga_id, order)
    engine.submit(handle.saga_id, Pause("A\0nn", "a\0b \U0001f680"))
    assert e.SagaPaused("A\ufffdnn", "a\ufffdb \U0001f680") in events_of(engine, handle.saga_id)
    engine.submit(handle.saga_id, Cancel(*ANN))
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
