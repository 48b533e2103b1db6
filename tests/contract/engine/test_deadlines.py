"""Deadlines: a saga that takes too long aborts in time, whoever runs it, and whatever it waits for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StepUnavailable
from saga_es.runtime.engine import Engine
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Receipt
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import Diary, Spy, Stop, crash, events_of, has_happened, until

SOON_S = 1.0
"""How much later than its deadline a saga may abort, on a machine that does much else."""


def patient(deadline_s: float, diary: Diary | None = None) -> Saga:
    """A saga that books, and then waits for a signal that never comes."""
    saga = Saga("patient", deadline_s=deadline_s)

    @saga.step
    def book(key: str) -> None:
        if diary is not None:
            diary.note("book", key)

    @saga.compensates(book)
    def unbook(key: str) -> None:
        if diary is not None:
            diary.note("unbook", key)

    saga.wait_for("never", timeout_s=None)
    return saga


def turned_at(engine: Engine, saga_id: str) -> datetime:
    """When the saga aborted, which it did because of its deadline."""
    (aborted,) = [recorded for recorded in engine.read(saga_id) if isinstance(recorded.event, e.SagaAborted)]
    assert aborted.event.step is None
    assert "deadline" in aborted.event.error
    return aborted.recorded_at


def due_at(engine: Engine, saga_id: str) -> datetime:
    started = events_of(engine, saga_id)[0]
    assert isinstance(started, e.SagaStarted)
    assert started.deadline_at is not None
    return started.deadline_at


def test_a_saga_aborts_at_its_deadline_though_nothing_happens(open_engine: OpenEngine) -> None:
    """Not before, and not much later; what was done is undone, and the reason is the deadline, not a step."""
    diary = Diary()
    saga = patient(0.4, diary)
    engine = open_engine(saga)
    handle = engine.start(saga)
    result = handle.result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, None)
    late = turned_at(engine, handle.saga_id) - due_at(engine, handle.saga_id)
    assert timedelta() <= late < timedelta(seconds=SOON_S)
    assert diary.names == ["book", "unbook"]


@pytest.mark.parametrize("deadline_s", [0.7, 0.05], ids=["to come", "passed meanwhile"])
def test_a_deadline_outlives_a_crash(store: Store, open_engine: OpenEngine, deadline_s: float) -> None:
    """The next engine keeps it, also when it passed while nobody ran the saga."""
    saga = patient(deadline_s)
    first = open_engine(saga)
    handle = first.start(saga)
    crash(store, first)
    until(lambda: deadline_s > 0.1 or datetime.now(UTC) > due_at(first, handle.saga_id))
    second = open_engine(saga)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert turned_at(second, handle.saga_id) >= due_at(second, handle.saga_id)


class SlowAt(Spy):
    """A writer that takes its time over one kind of event."""

    def __init__(self, store: Store, kind: type[e.SagaEvent], deadline_s: float) -> None:
        super().__init__(store)
        self._kind = kind
        self._deadline_s = deadline_s

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, and come back when the deadline has passed."""
        receipts = super().write(batch)
        if any(isinstance(event, self._kind) for its in batch for event in its.draft.events):
            threading.Event().wait(self._deadline_s)
        return receipts


def test_a_deadline_that_passes_while_the_start_is_committed_is_kept(store: Store, open_engine: OpenEngine) -> None:
    """However short it is: the saga does not wait for ever."""
    saga = Saga("patient", deadline_s=0.1)
    saga.wait_for("never", timeout_s=None)
    engine = open_engine(saga, writer=SlowAt(store, e.SagaStarted, 0.1))
    assert engine.start(saga).result(TIMEOUT_S).status is SagaStatus.COMPENSATED


def test_a_deadline_that_passes_while_a_takeover_is_committed_is_kept(store: Store, open_engine: OpenEngine) -> None:
    """It was not over when the takeover was decided, and is when that stands in the log."""
    saga = patient(0.8)
    first = open_engine(saga)
    handle = first.start(saga)
    until(lambda: has_happened(first, handle.saga_id, e.WaitStarted))
    crash(store, first)
    second = open_engine(saga, writer=SlowAt(store, e.SagaTakenOver, 0.8))
    assert second.follow(handle.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPENSATED


def test_a_saga_that_waits_for_capacity_ends_at_its_deadline(open_engine: OpenEngine, gate: threading.Event) -> None:
    """Nothing was called, so there is nothing to undo; the saga that holds the capacity goes on."""
    first, calls = threading.Event(), []
    saga = Saga("narrow", deadline_s=1.0, at_once=1)

    @saga.step(compensation=None, kind="pivot")
    def work(saga_id: str) -> None:
        calls.append(saga_id)
        first.set()
        gate.wait(TIMEOUT_S)

    engine = open_engine(saga)
    holds = engine.start(saga)
    assert first.wait(TIMEOUT_S)
    waits = engine.start(saga)
    result = waits.result(TIMEOUT_S)
    assert (result.status, result.error) == (SagaStatus.COMPENSATED, "the deadline passed: 1 s after the start")
    assert not has_happened(engine, holds.saga_id, e.StepCompleted)
    kinds = [type(event) for event in events_of(engine, waits.saga_id)]
    assert kinds == [e.SagaStarted, e.SagaTakenOver, e.SagaBegan, e.SagaAborted, e.SagaCompensated]
    gate.set()
    assert holds.result(TIMEOUT_S).completed
    assert calls == [holds.saga_id]


def test_a_deadline_does_not_end_a_call_but_waits_for_its_answer(
    open_engine: OpenEngine, gate: threading.Event
) -> None:
    """The saga has aborted; what was out is awaited, and then undone."""
    diary, stop = Diary(), Stop(gate)
    saga = Saga("slow", deadline_s=0.3)

    @saga.step
    def work(key: str) -> None:
        diary.note("work", key)
        stop(1)

    @saga.compensates(work)
    def undo(key: str) -> None:
        diary.note("undo", key)

    engine = open_engine(saga)
    handle = engine.start(saga)
    until(lambda: has_happened(engine, handle.saga_id, e.SagaAborted))
    assert diary.names == ["work"]
    gate.set()
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert diary.names == ["work", "undo"]


def test_a_deadline_ends_the_wait_for_a_retry(open_engine: OpenEngine) -> None:
    """The next attempt would come in an hour: it never does."""
    saga = Saga("busy", deadline_s=0.3)
    diary = Diary()

    @saga.step(compensation=None, retry=RetryPolicy(first_delay_s=3600))
    def work(key: str) -> None:
        diary.note("work", key)
        raise StepUnavailable("busy")

    engine = open_engine(saga)
    handle = engine.start(saga)
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    turned_at(engine, handle.saga_id)
    assert diary.names == ["work"]


def test_behind_the_pivot_there_is_no_deadline(open_engine: OpenEngine) -> None:
    """It passes while the saga waits there, and the saga completes all the same."""
    saga = Saga("paid", deadline_s=0.3)

    @saga.step(kind="pivot", compensation=None)
    def pay() -> None:
        pass

    saga.delay("hold", 0.6)
    engine = open_engine(saga)
    handle = engine.start(saga)
    assert handle.result(TIMEOUT_S).completed
    assert engine.read(handle.saga_id)[-1].recorded_at > due_at(engine, handle.saga_id)


def test_the_deadline_of_a_saga_that_starts_later_counts_from_there(open_engine: OpenEngine) -> None:
    """It has all its time, and no more."""
    saga = patient(0.4)
    engine = open_engine(saga)
    at = datetime.now(UTC) + timedelta(seconds=0.5)
    handle = engine.start(saga, starts_at=at)
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert due_at(engine, handle.saga_id) == at + timedelta(seconds=0.4)
    assert turned_at(engine, handle.saga_id) >= due_at(engine, handle.saga_id)
    kinds = [type(event) for event in events_of(engine, handle.saga_id)]
    assert kinds.index(e.SagaBegan) < kinds.index(e.StepStarted)
