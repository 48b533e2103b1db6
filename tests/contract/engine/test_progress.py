"""A running step says that it goes on: its time-out runs anew, and people can read how far it is."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from saga_es import RetryPolicy, Saga, SagaStatus, StepContext
from saga_es.core import events as e
from saga_es.core.outcomes import NOT_RECORDED
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import events_of, until, worker_of

ONCE = RetryPolicy(attempts=1)
STEP_S = 1.5
"""The time-out of the steps that take longer, and how long one may stand still on a busy machine."""


def said(events: list[Any]) -> list[e.StepProgressed]:
    return [event for event in events if isinstance(event, e.StepProgressed)]


def test_steps_that_say_that_they_go_on_may_take_longer_than_their_time_out(open_engine: OpenEngine) -> None:
    """A `def`, an `async def`, and a compensation; each is called once, unless the machine stood still."""
    saga, gaps = Saga("long"), [0.0]

    def lasts(context: StepContext, began: float, last: float) -> float:
        gaps.append((now := time.monotonic()) - last)
        context.progress({"seconds": round(now - began)})
        return now

    def plain(context: StepContext) -> int:
        began = last = time.monotonic()
        while last - began < 1.5 * STEP_S:
            time.sleep(0.05)
            last = lasts(context, began, last)
        return context.attempt

    async def awaited(context: StepContext) -> int:
        began = last = time.monotonic()
        while last - began < 1.5 * STEP_S:
            await asyncio.sleep(0.05)
            last = lasts(context, began, last)
        return context.attempt

    with saga.together():
        saga.step(timeout_s=STEP_S, retry=ONCE, compensation=None)(plain)
        saga.step(timeout_s=STEP_S, retry=ONCE, compensation=None)(awaited)
    engine = open_engine(saga)
    result = engine.start(saga).result(TIMEOUT_S)
    if max(gaps) < STEP_S / 2:
        assert (result.status, result.results) == (SagaStatus.COMPLETED, {"plain": 1, "awaited": 1})
        recorded = said(events_of(engine, result.saga_id))
        assert sorted((event.step, event.attempt) for event in recorded) == [("awaited", 1), ("plain", 1)]


def test_how_far_a_step_is_can_be_read_while_it_runs(open_engine: OpenEngine, gate: threading.Event) -> None:
    """In the log, before the step has answered."""
    saga = Saga("import")

    @saga.step(timeout_s=600, compensation=None)
    def load(context: StepContext) -> None:
        context.progress({"rows": 10_000, "file": "Übung ✓.csv"})
        gate.wait(TIMEOUT_S)

    engine = open_engine(saga)
    handle = engine.start(saga)
    until(lambda: said(events_of(engine, handle.saga_id)))
    details = {"rows": 10_000, "file": "Übung ✓.csv"}
    assert said(events_of(engine, handle.saga_id)) == [e.StepProgressed("load", 1, details=details)]
    gate.set()
    assert handle.result(TIMEOUT_S).completed


def test_a_call_that_timed_out_says_nothing_any_more(open_engine: OpenEngine, gate: threading.Event) -> None:
    """Nobody waits for it: what it says then is not in the log, and ends no other call's wait."""
    saga, late = Saga("late"), threading.Event()

    @saga.step(timeout_s=0.2, retry=ONCE)
    def slow(context: StepContext) -> None:
        gate.wait(TIMEOUT_S)
        context.progress("too late")
        late.set()

    @saga.compensates(slow)
    def undo_slow(context: StepContext) -> None:
        context.progress("in time")

    engine = open_engine(saga)
    handle = engine.start(saga)
    until(lambda: e.CompensationStarted("slow", 1) in events_of(engine, handle.saga_id))
    gate.set()
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert late.wait(TIMEOUT_S)
    assert said(events_of(engine, handle.saga_id)) == [e.StepProgressed("slow", 1, "compensation", "in time")]


def test_what_the_log_cannot_hold_is_replaced_and_the_step_goes_on(open_engine: OpenEngine) -> None:
    """Half of a surrogate pair, and an object."""
    saga = Saga("odd")

    @saga.step(compensation=None)
    def one(context: StepContext) -> str:
        context.progress("\ud800")
        return "done"

    @saga.step(compensation=None)
    def two(context: StepContext) -> str:
        context.progress(object())
        return "done"

    engine = open_engine(saga)
    result = engine.start(saga).result(TIMEOUT_S)
    assert result.results == {"one": "done", "two": "done"}
    for event in said(events_of(engine, result.saga_id)):
        assert set(event.details) == {NOT_RECORDED}


def test_a_step_that_had_said_something_is_called_again_after_its_worker_died(
    open_engine: OpenEngine, gate: threading.Event
) -> None:
    """With the same key and as the same attempt: what was said saves nothing."""
    keys: list[str] = []
    arrived = threading.Event()

    def saga(*, hangs: bool) -> Saga:
        made = Saga("import")

        @made.step(compensation=None)
        def load(key: str, context: StepContext) -> None:
            keys.append(key)
            context.progress(99)
            arrived.set()
            if hangs:
                gate.wait(TIMEOUT_S)

        return made

    first = open_engine(saga(hangs=True))
    handle = first.start("import")
    assert arrived.wait(TIMEOUT_S)
    until(lambda: said(events_of(first, handle.saga_id)))
    first.close(0.1)
    second = open_engine(saga(hangs=False))
    assert second.follow(handle.saga_id).result(TIMEOUT_S).completed
    assert len(set(keys)) == 1
    assert len(keys) == 2
    assert events_of(second, handle.saga_id)[1:] == [
        e.StepStarted("load", 1),
        e.StepProgressed("load", 1, details=99),
        e.SagaTakenOver(worker_of(second), worker_of(first)),
        e.StepProgressed("load", 1, details=99),
        e.StepCompleted("load"),
        e.SagaCompleted(),
    ]
