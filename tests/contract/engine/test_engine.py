"""The engine runs sagas from start to end on a real database, and answers those who wait for them."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import (
    NotFound,
    SagaExists,
    StepRejected,
    StepUnavailable,
    StoreUnavailable,
)
from saga_es.runtime.engine import Engine
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Receipt
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import ONCE, STEPS, Diary, Spy, Stop, events_of, raising, trip

INPUT = {"n": 7}


def forward(*steps: str) -> list[object]:
    """The events of steps that are done, one after the other."""
    return [event for name in steps for event in (e.StepStarted(name, 1), e.StepCompleted(name, {"id": f"{name}-7"}))]


def backward(*steps: str) -> list[object]:
    return [event for name in steps for event in (e.CompensationStarted(name, 1), e.CompensationCompleted(name))]


def started(engine: Engine, saga: Saga) -> e.SagaStarted:
    return e.SagaStarted("trip", saga.plan_id, INPUT, engine._worker.worker_id)


def end(handle: Handle) -> SagaResult:
    return handle.result(TIMEOUT_S)


# ── Forward and back ─────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_of_four_steps_is_five_appends_and_ten_events(store: Store, open_engine: OpenEngine) -> None:
    """Each outcome is appended together with the next intent: nothing cheaper is safe, nothing dearer is needed."""
    spy, diary = Spy(store), Diary()
    saga = trip(diary)
    engine = open_engine(saga, writer=spy)
    handle = engine.start(saga, INPUT)
    assert end(handle).completed
    assert [len(draft.events) for draft in spy.appends(handle.saga_id)] == [2, 2, 2, 2, 2]
    assert events_of(engine, handle.saga_id) == [started(engine, saga), *forward(*STEPS), e.SagaCompleted()]
    assert diary.names == list(STEPS)


def test_the_result_holds_what_each_step_answered_by_name(open_engine: OpenEngine) -> None:
    """`def` and `async def` steps alike; later steps get the answers of earlier ones by name."""
    saga = Saga("sum")

    @saga.step(compensation=None)
    def one() -> int:
        return 1

    @saga.step(compensation=None)
    async def two(one: int) -> int:
        await asyncio.sleep(0)
        return one + 1

    @saga.step(compensation=None)
    def both(one: int, two: int, saga_id: str) -> list[object]:
        return [one, two, saga_id]

    handle = open_engine(saga).start("sum")
    assert end(handle).results == {"one": 1, "two": 2, "both": [1, 2, handle.saga_id]}


def test_a_failed_step_aborts_the_saga(open_engine: OpenEngine) -> None:
    """What was done is compensated in reverse, and the log reads so, event by event."""
    diary = Diary()
    saga = trip(diary, {"bill": raising(StepRejected("no money"))})
    engine = open_engine(saga)
    handle = engine.start(saga, INPUT)
    assert end(handle) == SagaResult(handle.saga_id, "trip", SagaStatus.COMPENSATED, {}, "bill", "no money")
    assert events_of(engine, handle.saga_id) == [
        started(engine, saga),
        *forward("car", "hotel", "flight"),
        e.StepStarted("bill", 1),
        e.StepFailed("bill", 1, "rejected", "no money"),
        e.SagaAborted("bill", "no money"),
        *backward("flight", "hotel", "car"),
        e.SagaCompensated(),
    ]
    assert diary.names == [*STEPS, "undo flight", "undo hotel", "undo car"]


def test_each_call_has_a_key_of_its_own(open_engine: OpenEngine) -> None:
    """Keys are UUIDs, different for each saga, step and direction."""
    diary = Diary()
    saga = trip(diary, {"bill": raising(StepRejected("no money"))})
    engine = open_engine(saga)
    for handle in [engine.start(saga, {"n": n}) for n in range(3)]:
        end(handle)
    assert len({UUID(key) for _, key in diary.calls}) == len(diary.calls) == 3 * 7


def test_a_retry_comes_after_its_back_off_with_the_same_key(open_engine: OpenEngine) -> None:
    """A step that is unavailable twice is called three times, with one key, never before its time; likewise back."""
    diary, busy = Diary(), StepUnavailable("busy")
    acts = {"hotel": raising(busy, 2), "bill": raising(StepRejected("no")), "undo car": raising(busy, 2)}
    saga = trip(diary, acts)
    engine = open_engine(saga)
    handle = engine.start(saga, INPUT)
    assert end(handle).status is SagaStatus.COMPENSATED
    for call in ("hotel", "undo car"):
        assert len(diary.keys(call)) == 3
        assert len(set(diary.keys(call))) == 1
    history = engine.read(handle.saga_id)
    waits = [(a.event.retry_at, b.recorded_at) for a, b in itertools.pairwise(history) if _waits(a.event)]
    assert len(waits) == 4
    assert all(due <= tried for due, tried in waits)


def _waits(event: object) -> bool:
    return getattr(event, "retry_at", None) is not None


def test_a_step_whose_outcome_is_unknown_is_compensated_too(open_engine: OpenEngine) -> None:
    """A step that raises just anything may have happened: it is undone, before those that came earlier."""
    diary = Diary()
    saga = trip(diary, {"flight": raising(RuntimeError("lost"))}, retry=ONCE)
    engine = open_engine(saga)
    result = end(engine.start(saga, INPUT))
    assert (result.status, result.failed_step, result.error) == (
        SagaStatus.COMPENSATED,
        "flight",
        "RuntimeError: lost",
    )
    assert diary.names == ["car", "hotel", "flight", "undo flight", "undo hotel", "undo car"]


def test_a_step_that_takes_too_long_is_unknown(open_engine: OpenEngine, gate: threading.Event) -> None:
    """Its time runs out, it is compensated, and what it answers later changes nothing."""
    diary = Diary()
    stop, answered = Stop(gate), threading.Event()

    def late(count: int) -> None:
        stop(count)
        answered.set()

    saga = trip(diary, {"car": late}, retry=ONCE, timeout_s=0.2)
    engine = open_engine(saga)
    handle = engine.start(saga, INPUT)
    result = end(handle)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "car")
    assert "0.2 s" in str(result.error)
    assert diary.names == ["car", "undo car"]
    history = events_of(engine, handle.saga_id)
    gate.set()
    assert answered.wait(TIMEOUT_S)
    assert end(engine.start(saga, INPUT)).completed
    assert events_of(engine, handle.saga_id) == history


def test_a_coroutine_that_takes_too_long_is_unknown(open_engine: OpenEngine) -> None:
    """An `async def` step that never comes back does not hold the saga either."""
    saga = Saga("endless")

    @saga.step(retry=ONCE, timeout_s=0.2, compensation=None)
    async def forever() -> None:
        await asyncio.Event().wait()

    result = end(open_engine(saga).start(saga))
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "forever")


# ── Waiting ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_handle_can_be_awaited(open_engine: OpenEngine) -> None:
    """Any number of handles, in any event loop."""
    saga = trip(Diary())
    engine = open_engine(saga)

    async def both() -> list[SagaResult]:
        return [await handle for handle in (engine.start(saga, INPUT), engine.start(saga, INPUT))]

    assert [result.completed for result in asyncio.run(both())] == [True, True]


def test_who_gives_up_waiting_spoils_nothing(open_engine: OpenEngine, gate: threading.Event) -> None:
    """`result` and `await` time out, the saga goes on, and the same handle can be waited on again, either way."""
    stop = Stop(gate)
    saga = trip(Diary(), {"car": stop})
    handle = open_engine(saga).start(saga, INPUT)
    with pytest.raises(TimeoutError):
        handle.result(0.05)

    async def impatient() -> SagaResult:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.05)
        gate.set()
        return await handle

    assert asyncio.run(impatient()).completed
    assert end(handle).completed


def test_to_start_again_is_to_find_the_same_saga(open_engine: OpenEngine) -> None:
    """The same id, or the same key, with the same input: one saga, one run, one answer, also after its end."""
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    by_id = [engine.start(saga, INPUT, saga_id="my-trip") for _ in range(3)]
    assert {end(handle).saga_id for handle in by_id} == {"my-trip"}
    by_key = [engine.start(saga, INPUT, key="order 1") for _ in range(3)]
    assert len({end(handle).saga_id for handle in by_key}) == 1
    assert end(engine.start(saga, INPUT, key="order 2")).saga_id != by_key[0].saga_id
    assert end(engine.start(saga, INPUT, saga_id="my-trip")) == end(by_id[0])
    assert diary.names == list(STEPS) * 3


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "ended"])
def test_the_same_id_or_key_with_another_input_is_refused(
    open_engine: OpenEngine,
    gate: threading.Event,
    is_running: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """`SagaExists` names the saga, while it runs and after its end; the saga itself is not disturbed."""
    stop = Stop(gate)
    saga = trip(Diary(), {"car": stop})
    engine = open_engine(saga)
    handles = [engine.start(saga, INPUT, saga_id="my-trip"), engine.start(saga, INPUT, key="order 1")]
    if not is_running:
        gate.set()
        for handle in handles:
            end(handle)
    for other in ({"n": 8}, {}, {"n": 7, "m": 1}):
        with pytest.raises(SagaExists, match="my-trip"):
            engine.start(saga, other, saga_id="my-trip")
        with pytest.raises(SagaExists):
            engine.start(saga, other, key="order 1")
    gate.set()
    assert all(end(handle).completed for handle in handles)


def test_true_is_another_input_than_one(open_engine: OpenEngine) -> None:
    """Inputs are compared as JSON: `true` and `1` differ, though Python calls them equal."""
    saga = trip(Diary())
    engine = open_engine(saga)
    end(engine.start(saga, {"n": 1}, key="k"))
    with pytest.raises(SagaExists):
        engine.start(saga, {"n": True}, key="k")


def test_two_engines_that_start_the_same_id_at_once_run_one_saga(open_engine: OpenEngine) -> None:
    """Whichever wins, both get the answer, and each step was called once."""
    diary = Diary()
    saga = trip(diary)
    engines = [open_engine(saga) for _ in range(2)]
    together = threading.Barrier(2)

    def start(engine: Engine) -> SagaResult:
        together.wait(TIMEOUT_S)
        return end(engine.start(saga, INPUT, saga_id="my-trip"))

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(start, engines))
    assert results[0] == results[1]
    assert diary.names == list(STEPS)


def test_a_saga_of_another_engine_can_be_followed(open_engine: OpenEngine, gate: threading.Event) -> None:
    """A handle on it resolves when it ends, wherever it runs; so do the handles of those who come after its end."""
    stop = Stop(gate)
    saga = trip(Diary(), {"car": stop})
    here, there = open_engine(saga), open_engine()
    handle = here.start(saga, INPUT)
    followed = there.follow(handle.saga_id)
    followed.started(TIMEOUT_S)
    with pytest.raises(TimeoutError):
        followed.result(0.05)
    gate.set()
    assert end(followed) == end(handle) == end(there.follow(handle.saga_id)) == end(here.follow(handle.saga_id))


def test_a_second_handle_on_a_running_saga_is_started_at_once(open_engine: OpenEngine, gate: threading.Event) -> None:
    """Its start is in the log already, and the handle says so: by `follow`, and by starting it again."""
    stop = Stop(gate)
    saga = trip(Diary(), {"car": stop})
    engine = open_engine(saga)
    engine.start(saga, INPUT, saga_id="my-trip")
    engine.start(saga, INPUT, saga_id="my-trip").started(2)
    engine.follow("my-trip").started(2)


def test_a_saga_that_never_was_is_not_found(open_engine: OpenEngine) -> None:
    """To follow an id that no saga has is an error that names it."""
    with pytest.raises(NotFound, match="no-such-saga"):
        end(open_engine().follow("no-such-saga"))


def test_many_who_start_at_once_are_all_served(store: Store, open_engine: OpenEngine) -> None:
    """64 threads start a saga each: all complete, ten events each, versions gapless."""
    saga = trip(Diary())
    engine = open_engine(saga)
    together = threading.Barrier(64)

    def run(n: int) -> SagaResult:
        together.wait(TIMEOUT_S)
        return end(engine.start(saga, {"n": n}))

    with ThreadPoolExecutor(64) as threads:
        results = list(threads.map(run, range(64)))
    assert [result.results["car"]["id"] for result in results if result.completed] == [f"car-{n}" for n in range(64)]
    streams = store.log.entries_of([result.saga_id for result in results])
    assert {tuple(entry.version for entry in entries) for entries in streams.values()} == {tuple(range(1, 11))}
    assert engine.active == 0


# ── The database is away ─────────────────────────────────────────────────────────────────────────────────


class Flaky(Spy):
    """A writer whose database comes and goes: before it wrote, and after it wrote but before it answered."""

    pattern = itertools.cycle(("away", "answer lost", "there"))
    is_flaky = False
    faults = 0

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Really write, or really not; and say so, or not."""
        fate = next(self.pattern) if self.is_flaky else "there"
        if fate == "away":
            self.faults += 1
            raise StoreUnavailable("the database is away")
        receipts = super().write(batch)
        if fate == "answer lost":
            self.faults += 1
            raise StoreUnavailable("the answer was lost")
        return receipts


def test_a_saga_gets_through_while_the_database_comes_and_goes(store: Store, open_engine: OpenEngine) -> None:
    """Each commit fails once and loses its answer once: ten events all the same, none doubled, each call made once."""
    diary = Diary()
    saga = trip(diary)
    flaky = Flaky(store)
    engine = open_engine(saga, writer=flaky)
    flaky.is_flaky = True
    handle = engine.start(saga, INPUT)
    assert end(handle).completed
    flaky.is_flaky = False
    assert flaky.faults >= 10
    assert events_of(engine, handle.saga_id) == [started(engine, saga), *forward(*STEPS), e.SagaCompleted()]
    assert diary.names == list(STEPS)
    assert [entry.version for entry in store.log.entries(handle.saga_id)] == list(range(1, 11))
