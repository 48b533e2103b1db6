"""What an engine leaves unfinished another one finishes; and never do two of them advance one saga."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected, StepUnavailable, StoreUnavailable
from saga_es.runtime.calls.coroutines import Coroutines
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.ports import Conflict, Receipt
from saga_es.store.process import Process
from saga_es.store.sagas import Found, Sagas
from saga_es.store.tables import saga_workers
from saga_es.store.workers import Workers
from tests.conftest import AT, NOTE, TIMEOUT_S, NoteWritten, OpenEngine, Store
from tests.support.trips import STEPS, Diary, Spy, Stop, bury, events_of, raising, trip, until, worker_of

INPUT = {"n": 7}
SOON_S = 0.1
"""The grace of an engine whose steps hang on purpose."""


def done(name: str) -> e.StepCompleted:
    return e.StepCompleted(name, {"id": f"{name}-7"})


# ── After an engine has stopped ──────────────────────────────────────────────────────────────────────────


def test_a_saga_stopped_half_way_is_finished_by_the_next_engine(open_engine: OpenEngine, gate: threading.Event) -> None:
    """The open call is made again with its key, no other call is, and the log names both workers."""
    before, after = Diary(), Diary()
    stop = Stop(gate)
    first = open_engine(trip(before, {"flight": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    first.close(SOON_S)
    with pytest.raises(StoreUnavailable):
        handle.result(TIMEOUT_S)

    saga = trip(after)
    second = open_engine(saga)
    result = second.follow(handle.saga_id).result(TIMEOUT_S)
    assert (result.completed, list(result.results)) == (True, list(STEPS))
    assert (before.names, after.names) == (["car", "hotel", "flight"], ["flight", "bill"])
    assert before.keys("flight") == after.keys("flight")
    assert events_of(second, handle.saga_id) == [
        e.SagaStarted("trip", saga.plan_id, INPUT, worker_of(first)),
        *(e.StepStarted("car", 1), done("car"), e.StepStarted("hotel", 1), done("hotel"), e.StepStarted("flight", 1)),
        e.SagaTakenOver(worker_of(second), worker_of(first)),
        *(done("flight"), e.StepStarted("bill", 1), done("bill"), e.SagaCompleted()),
    ]


def test_a_call_that_was_out_in_a_crash_is_compensated_though_its_repeat_is_refused(
    open_engine: OpenEngine, gate: threading.Event
) -> None:
    """The refusal speaks for the second call; the first may have acted, and nobody heard its answer."""
    before, after = Diary(), Diary()
    stop = Stop(gate)
    first = open_engine(trip(before, {"flight": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    first.close(SOON_S)
    second = open_engine(trip(after, {"flight": raising(StepRejected("no"))}))
    assert second.follow(handle.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert after.names == ["flight", "undo flight", "undo hotel", "undo car"]


def test_a_compensation_stopped_half_way_is_finished_by_the_next_engine(
    open_engine: OpenEngine, gate: threading.Event
) -> None:
    """It goes on backwards where it stopped, with the same key, and turns forward never again."""
    before, after = Diary(), Diary()
    stop, refuse = Stop(gate), raising(StepRejected("no"))
    first = open_engine(trip(before, {"flight": refuse, "undo hotel": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    first.close(SOON_S)
    second = open_engine(trip(after, {"flight": refuse}))
    result = second.follow(handle.saga_id).result(TIMEOUT_S)
    assert (result.status, result.failed_step, result.error) == (SagaStatus.COMPENSATED, "flight", "no")
    assert after.names == ["undo hotel", "undo car"]
    assert before.keys("undo hotel") == after.keys("undo hotel")
    assert events_of(second, handle.saga_id)[5:] == [
        *(e.StepStarted("flight", 1), e.StepFailed("flight", 1, "rejected", "no"), e.SagaAborted("flight", "no")),
        e.CompensationStarted("hotel", 1),
        e.SagaTakenOver(worker_of(second), worker_of(first)),
        *(e.CompensationCompleted("hotel"), e.CompensationStarted("car", 1), e.CompensationCompleted("car")),
        e.SagaCompensated(),
    ]


class FailureSeen(Spy):
    """A writer that tells when a failed attempt is in the log."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.seen = threading.Event()

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, and tell."""
        receipts = super().write(batch)
        if any(isinstance(event, e.StepFailed) for its in batch for event in its.draft.events):
            self.seen.set()
        return receipts


def test_a_back_off_outlives_its_engine(store: Store, open_engine: OpenEngine) -> None:
    """The next engine waits as long as the log says, and then tries with the second attempt, not the first."""
    diary, slow = Diary(), RetryPolicy(attempts=2, first_delay_s=0.5, jitter=0.0)
    saga = trip(diary, {"car": raising(StepUnavailable("busy"), 1)}, retry=slow)
    spy = FailureSeen(store)
    first = open_engine(saga, writer=spy)
    handle = first.start(saga, INPUT)
    assert spy.seen.wait(TIMEOUT_S)
    first.close()
    second = open_engine(saga)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).completed
    history = second.read(handle.saga_id)
    assert len(diary.keys("car")) == 2
    assert len(set(diary.keys("car"))) == 1
    (failed,) = [recorded.event for recorded in history if isinstance(recorded.event, e.StepFailed)]
    (tried,) = [recorded.recorded_at for recorded in history if recorded.event == e.StepStarted("car", 2)]
    assert failed.retry_at is not None
    assert failed.retry_at <= tried


def test_a_saga_whose_code_is_gone_waits_for_a_worker_that_has_it(
    open_engine: OpenEngine, gate: threading.Event
) -> None:
    """An engine that has no such step any more leaves the saga alone; the next one that has it goes on."""
    stop = Stop(gate)
    first = open_engine(trip(Diary(), {"flight": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    first.close(SOON_S)
    diary = Diary()
    second = open_engine(trip(diary, steps=("car", "hotel", "bill")))
    assert second.start("trip", INPUT).result(TIMEOUT_S).completed
    assert not any(isinstance(event, e.SagaTakenOver) for event in events_of(second, handle.saga_id))
    third = open_engine(trip(Diary()))
    assert third.follow(handle.saga_id).result(TIMEOUT_S).completed


def test_a_running_saga_keeps_the_plan_it_started_with(open_engine: OpenEngine, gate: threading.Event) -> None:
    """The next engine's definition has one step more: the running saga does without, the next one has it."""
    stop = Stop(gate)
    first = open_engine(trip(Diary(), {"car": stop}, steps=("car", "bill")))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    first.close(SOON_S)
    second = open_engine(trip(Diary()))
    assert list(second.follow(handle.saga_id).result(TIMEOUT_S).results) == ["car", "bill"]
    assert list(second.start("trip", INPUT).result(TIMEOUT_S).results) == list(STEPS)


def test_many_sagas_are_taken_over_by_one_of_several_engines(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """Two engines open at once on twenty orphans: each saga is taken over once, and completes."""
    before = Diary()
    first = open_engine(trip(before, {"car": Stop(gate)}))
    handles = [first.start("trip", INPUT) for _ in range(20)]
    first.close(SOON_S)
    saga = trip(Diary())
    with ThreadPoolExecutor(2) as threads:
        engines = list(threads.map(lambda _: open_engine(saga), range(2)))
    for handle in handles:
        assert engines[0].follow(handle.saga_id).result(TIMEOUT_S).completed
        entries = store.log.entries(handle.saga_id)
        assert [entry.version for entry in entries] == list(range(1, 12))
        assert [entry.type for entry in entries].count("SagaTakenOver") == 1


# ── Two engines, and one saga ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def second_gate(open_engine: OpenEngine) -> threading.Event:
    """One more event for steps to block on; the test opens it."""
    del open_engine
    return threading.Event()


def test_of_an_engine_that_was_buried_alive_no_append_is_accepted(
    store: Store, open_engine: OpenEngine, gate: threading.Event, second_gate: threading.Event
) -> None:
    """The first engine hangs in a step and counts as gone; the second took over and is under way.

    When the first wakes up, its append is in conflict, it drops the saga, and its caller gets the second's answer.
    """
    zombie, heir = Diary(), Diary()
    hangs, is_under_way = Stop(gate), Stop(second_gate)
    spy = Spy(store)
    # A long lease: the first engine must not say meanwhile that it lives.
    first = open_engine(trip(zombie, {"hotel": hangs}), writer=spy, workers=Workers(store.database, 400))
    try:
        handle = first.start("trip", INPUT)
        assert hangs.arrived.wait(TIMEOUT_S)
        before = spy.appends(handle.saga_id)
        bury(store, first)
        second = open_engine(trip(heir, {"flight": is_under_way}))
        assert is_under_way.arrived.wait(TIMEOUT_S)
        gate.set()
        assert spy.conflict.wait(TIMEOUT_S)
    finally:
        second_gate.set()
    result = handle.result(TIMEOUT_S)
    assert result == second.follow(handle.saga_id).result(TIMEOUT_S)
    assert result.completed
    assert spy.appends(handle.saga_id) == before
    assert {receipt for _, receipt in spy.settled[-1:]} == {Conflict()}
    assert (zombie.names, heir.names) == (["car", "hotel"], ["hotel", "flight", "bill"])
    assert zombie.keys("hotel") == heir.keys("hotel")
    assert first.active == 0
    assert [entry.version for entry in store.log.entries(handle.saga_id)] == list(range(1, 12))


def test_an_engine_leaves_the_sagas_of_a_living_one_alone(open_engine: OpenEngine, gate: threading.Event) -> None:
    """A second engine that opens while the first is in a step takes nothing over."""
    here, there = Diary(), Diary()
    stop = Stop(gate)
    first = open_engine(trip(here, {"car": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    second = open_engine(trip(there))
    assert second.start("trip", INPUT).result(TIMEOUT_S).completed  # it has looked for orphans by now
    assert there.names == list(STEPS)
    gate.set()
    assert handle.result(TIMEOUT_S).completed
    assert here.names == list(STEPS)


def test_an_engine_that_does_not_recover_takes_nothing_over(open_engine: OpenEngine, gate: threading.Event) -> None:
    """A process that only serves participants leaves orphans to the workers, who get them."""
    stop = Stop(gate)
    first = open_engine(trip(Diary(), {"car": stop}))
    handle = first.start("trip", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    first.close(SOON_S)
    diary = Diary()
    bystander = open_engine(trip(diary), recovers=False)
    assert bystander.start("trip", INPUT).result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)
    worker = open_engine(trip(Diary()))
    assert worker.follow(handle.saga_id).result(TIMEOUT_S).completed
    assert e.SagaTakenOver(worker_of(worker), worker_of(first)) in events_of(worker, handle.saga_id)


class Meanwhile(Sagas):
    """Reads sagas, but first lets something happen, once: between the search for orphans and the look at them."""

    def __init__(self, store: Store, happens: Callable[[], object]) -> None:
        super().__init__(store.log)
        self._happenings = [happens]

    @property
    def has_happened(self) -> bool:
        """Whether it has."""
        return not self._happenings

    def find_within(self, saga_ids: Sequence[str], most_bytes: int | None) -> tuple[Found, Sequence[str]]:
        """What stands in the log by now."""
        if saga_ids and self._happenings:
            self._happenings.pop()()
        return super().find_within(saga_ids, most_bytes)


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
def test_an_orphan_that_found_a_home_meanwhile_is_left_there(
    store: Store,
    ends: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """Another worker took the saga over after this one listed it as an orphan: this one does not take it again."""
    diary = Diary()
    saga = trip(diary)
    lost = (e.SagaStarted("trip", saga.plan_id, INPUT, "dead"), e.StepStarted("car", 1))
    found = (e.SagaTakenOver("living", "dead"), *((e.SagaFailed("x"),) if ends else ()))
    store.write(Draft(saga.plan_id, PLAN, 0, (e.PlanRecorded(saga.plan),), AT), Draft("s-1", SAGA, 0, lost, AT))
    store.workers.beat("living", Process.this())
    sagas = Meanwhile(store, lambda: store.write(Draft("s-1", SAGA, 2, found, AT)))
    with an_engine(store, saga, Executor(), sagas=sagas) as engine:
        until(lambda: sagas.has_happened)  # at once, or a moment later, if it is the other's turn first
        engine.append("n-1", NOTE, 0, [NoteWritten("the engine has done with what it found before it came to this")])
        assert events_of(engine, "s-1") == [*lost, *found]
        assert (diary.calls, engine.active) == ([], 0)


# ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────


def an_engine(
    store: Store, saga: Saga, executor: Executor, writer: Spy | None = None, sagas: Sagas | None = None
) -> Engine:
    spied = replace(store, writer=writer or store.writer, sagas=sagas or store.sagas)
    return Engine(spied, executor, [saga])


def test_a_closed_engine_has_said_goodbye_and_left_nothing_open(store: Store) -> None:
    """No row among the workers, no thread of the loop, and the event loop of its coroutines is closed."""
    executor = Executor()
    with an_engine(store, trip(Diary()), executor) as engine:
        assert engine.start("trip", INPUT).result(TIMEOUT_S).completed
    with store.database.reading() as connection:
        assert connection.execute(sa.select(saga_workers)).all() == []
    assert not engine.alive
    assert isinstance(executor._coroutines, Coroutines)
    assert [loop.loop.is_closed() for loop in executor._coroutines._loops] == [True]
    with pytest.raises(StoreUnavailable):
        engine.start("trip", INPUT)


class Held(Spy):
    """A writer that can be held up in the middle of a commit."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.arrived, self.release = threading.Event(), threading.Event()
        self.release.set()

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, as soon as it may."""
        self.arrived.set()
        assert self.release.wait(TIMEOUT_S)
        return super().write(batch)


def test_nobody_is_left_waiting_on_a_closed_engine(store: Store) -> None:
    """A saga that was asked for while the engine was closing is either in the log or refused; the handle knows."""
    held = Held(store)
    engine = an_engine(store, trip(Diary()), Executor(), held).open()
    held.arrived.clear()
    held.release.clear()
    first = engine.start("trip", INPUT, wait=False)
    assert held.arrived.wait(TIMEOUT_S)
    second = engine.start("trip", INPUT, wait=False)  # comes too late for the batch that is being committed
    closing = threading.Thread(target=engine.close)
    closing.start()
    while not engine._closed:
        closing.join(0.01)
    held.release.set()
    closing.join(TIMEOUT_S)
    for handle in (first, second):
        with pytest.raises(StoreUnavailable):
            handle.result(2)
