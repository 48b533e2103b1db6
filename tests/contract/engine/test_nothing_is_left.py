"""Nobody waits in vain, and nothing is left behind: when engines stop, when the loop fails, when all is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from saga_es.commands import Cancel, Pause
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected, StepUnavailable, StoreUnavailable, UnreadableEvent
from saga_es.runtime.engine import Engine
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.ports import Receipt
from saga_es.store.process import Process
from saga_es.store.workers import Workers
from tests.conftest import AT, NOTE, TIMEOUT_S, NoteErased, NoteWritten, OpenEngine, Store
from tests.support.payments import INPUT, child_of, order, payment
from tests.support.trips import QUICK, Diary, Slow, Spy, bury, gathered, has_happened, raising, trip, until

ANN = ("Ann", "because")


def told(future: Future[None]) -> BaseException | None:
    """What one was told who waited, and waited not long."""
    return future.exception(5)


# ── Stopping ─────────────────────────────────────────────────────────────────────────────────────────────


class Away(Spy):
    """A writer whose database can go away, for good."""

    is_away = False

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.tried = threading.Event()

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, if there is a database."""
        if self.is_away:
            self.tried.set()
            raise StoreUnavailable("the database is away")
        return super().write(batch)


def test_who_waits_for_a_commit_is_told_when_the_engine_stops(store: Store, open_engine: OpenEngine) -> None:
    """The database is away; in the batch and behind it there are an order, a start, and an append."""
    away = Away(store)
    saga = Saga("waiting")
    saga.wait_for("go", timeout_s=None)
    engine = open_engine(saga, writer=away)
    handle = engine.start(saga)
    until(lambda: has_happened(engine, handle.saga_id, e.WaitStarted))
    away.is_away = True
    with ThreadPoolExecutor(6) as threads:
        waiting = [threads.submit(engine.submit, handle.saga_id, Pause(*ANN))]
        assert away.tried.wait(TIMEOUT_S)
        waiting += [
            threads.submit(engine.submit, handle.saga_id, Cancel(*ANN)),
            threads.submit(engine.append, "n-1", NOTE, 0, [NoteWritten("a")]),
            threads.submit(lambda: engine.start(saga).started()),
        ]
        until(lambda: len(engine._inbox) == 3)
        closing = time.monotonic()
        engine.close(0.1)
        assert all(isinstance(told(future), StoreUnavailable) for future in waiting)
        assert time.monotonic() - closing < 5
    with pytest.raises(StoreUnavailable):
        handle.result(0)


def test_a_parent_that_waits_is_no_reason_not_to_stop(open_engine: OpenEngine) -> None:
    """Children, signals and delays are for the next worker: the engine stops at once."""
    child = payment(Diary(), waits=True)
    engine = open_engine(order(child, Diary()), child)
    handle = engine.start("order", INPUT)
    child_of(engine, handle.saga_id)
    closing = time.monotonic()
    engine.close(30)
    assert time.monotonic() - closing < 5
    with pytest.raises(StoreUnavailable):
        handle.result(0)


# ── The loop fails ───────────────────────────────────────────────────────────────────────────────────────


class Stumbling(Slow):
    """A writer that fails in a way nobody foresaw, after it wrote: the first time that it writes such an event."""

    def __init__(self, store: Store, *kinds: type) -> None:
        super().__init__(store)
        self._kinds = set(kinds)

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, and stumble."""
        receipts = super().write(batch)
        met = {type(event) for its in batch for event in its.draft.events} & self._kinds
        self._kinds -= met
        if met:
            raise RuntimeError("nobody foresaw this")
        return receipts


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        (e.ChildStarted, SagaStatus.COMPLETED),
        (e.SagaCompleted, SagaStatus.COMPLETED),
        (e.CompensationStarted, SagaStatus.COMPENSATED),
        (e.SagaReopened, SagaStatus.COMPENSATED),
    ],
)
def test_a_parent_and_its_child_outlive_a_loop_that_fails(
    store: Store, open_engine: OpenEngine, kind: type[e.SagaEvent], end: SagaStatus
) -> None:
    """The engine starts over, finds both in the log, and they find each other again; nothing is followed twice."""
    diary = Diary()
    child = payment(diary)
    acts = {"ship": raising(StepRejected("no stock"))} if end is SagaStatus.COMPENSATED else {}
    engine = open_engine(order(child, diary, acts), child, writer=Stumbling(store, kind))
    assert engine.start("order", INPUT).result(TIMEOUT_S).status is end  # to follow it now might be refused, rightly
    assert engine._worker._dispatch._children._followed == set()


def test_two_appends_to_one_stream_are_both_answered_when_the_loop_fails(
    store: Store, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has to wait for the next batch, and by then its giver was told: that is no second failure."""
    stumbling = Stumbling(store, NoteErased)
    engine = open_engine(trip(Diary()), writer=stumbling)
    started_over: list[int] = []
    monkeypatch.setattr(engine._worker, "start_over", _counted(engine._worker.start_over, started_over))
    holding = stumbling.hold(engine)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(engine.append, "n-2", NOTE, 0, [NoteErased()]) for _ in range(2)]
        gathered(engine, 2)
        stumbling.may_write.set()
        assert [type(told(future)) for future in both] == [StoreUnavailable] * 2
    holding.join(TIMEOUT_S)
    assert engine.start("trip", INPUT).result(TIMEOUT_S).completed
    assert len(started_over) == 1


def _counted(call: Callable[[], None], counts: list[int]) -> Callable[[], None]:
    def counting() -> None:
        counts.append(1)
        call()

    return counting


def test_a_saga_whose_events_do_not_go_together_disturbs_no_other(store: Store, open_engine: OpenEngine) -> None:
    """It is left alone, and told of in the log of the process; the orphan beside it is taken over, and ends."""
    saga = trip(Diary())
    begun = e.SagaStarted("trip", saga.plan_id, INPUT, "dead")
    store.write(
        Draft(saga.plan_id, PLAN, 0, (e.PlanRecorded(saga.plan),), AT),
        Draft("s-1", SAGA, 0, (begun, e.StepStarted("car", 1), e.StepCompleted("no such step")), AT),
        Draft("s-2", SAGA, 0, (begun, e.StepStarted("car", 1)), AT),
    )
    engine = open_engine(saga)
    assert engine.follow("s-2").result(TIMEOUT_S).completed
    with pytest.raises(UnreadableEvent, match="do not go together"):
        engine.follow("s-1").result(TIMEOUT_S)


# ── The database is away ─────────────────────────────────────────────────────────────────────────────────


class AwayFor(Spy):
    """A writer whose database is away a few times when such an event is to be written."""

    def __init__(self, store: Store, kind: type[e.SagaEvent], times: int) -> None:
        super().__init__(store)
        self._kind = kind
        self._times = times

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, if it is there."""
        is_asked = any(isinstance(event, self._kind) for its in batch for event in its.draft.events)
        if is_asked and self._times:
            self._times -= 1
            raise StoreUnavailable("the database is away")
        return super().write(batch)


def test_a_parent_that_undoes_an_ended_child_waits_for_the_database(store: Store, open_engine: OpenEngine) -> None:
    """What one saga asks of another is asked until it is in the log: nobody else would ask again."""
    diary = Diary()
    child = payment(diary)
    saga = order(child, diary, {"ship": raising(StepRejected("no stock"))})
    engine = open_engine(saga, child, writer=AwayFor(store, e.SagaReopened, 3))
    assert engine.start("order", INPUT).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert diary.names[-2:] == ["refund", "release"]


def test_a_parent_that_revokes_a_child_elsewhere_waits_for_the_database(store: Store, open_engine: OpenEngine) -> None:
    """The child waits for a signal on another engine: it hears of it when the database is back."""
    diary = Diary()
    child = payment(diary, waits=True)
    parents = Saga("order")
    parents.child("pay", child)
    first = open_engine(child)
    handle = first.start(child, INPUT, saga_id="c-1")
    until(lambda: has_happened(first, handle.saga_id, e.WaitStarted))
    events = (
        e.SagaStarted("order", parents.plan_id, INPUT, "dead"),
        e.StepStarted("pay", 1),
        e.ChildStarted("pay", "payment", "c-1", INPUT),
    )
    store.write(Draft(parents.plan_id, PLAN, 0, (e.PlanRecorded(parents.plan),), AT), Draft("p-1", SAGA, 0, events, AT))
    second = open_engine(parents, child, writer=AwayFor(store, e.SagaCancelled, 5))
    first.submit("p-1", Cancel(*ANN))
    assert second.follow("p-1").result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert diary.names == ["charge", "refund"]


class Asleep(Workers):
    """The workers of an engine that does not beat while it sleeps."""

    is_asleep = False

    def beat(self, worker_id: str, process: Process, code: str | None = None) -> bool:
        """Say that this worker lives, if it is awake."""
        return not self.is_asleep and super().beat(worker_id, process, code)


def test_an_engine_that_was_buried_asleep_sees_which_sagas_it_lost(store: Store, open_engine: OpenEngine) -> None:
    """Its sagas only wait, so it appends nothing and meets no conflict: it looks when it finds its row gone.

    The one that another engine took is followed from afar, and the one that nobody took goes on here.
    """
    lost, kept = Saga("lost"), Saga("kept")
    for saga in (lost, kept):
        saga.wait_for("go", timeout_s=None)
    asleep = Asleep(store.database, lease_s=0.8)
    first = open_engine(lost, kept, workers=asleep)
    handles = [first.start(lost), first.start(kept)]
    asleep.is_asleep = True
    bury(store, first)
    second = open_engine(lost)
    until(lambda: has_happened(second, handles[0].saga_id, e.SagaTakenOver))
    asleep.is_asleep = False
    until(lambda: first.active == 1)
    for handle in handles:
        second.signal(handle.saga_id, "go")
        assert handle.result(TIMEOUT_S).completed
    assert not has_happened(second, handles[1].saga_id, e.SagaTakenOver)


# ── All is done ──────────────────────────────────────────────────────────────────────────────────────────


def mixed(diary: Diary) -> tuple[Saga, Saga]:
    """A saga of all kinds of steps, and the one that it runs."""
    child = payment(diary, waits=True)
    saga = Saga("mixed", deadline_s=3600)
    with saga.together():

        @saga.step(compensation=None, over="input[list]", at_once=2, timeout_s=3000)
        def each(item: int, key: str) -> int:
            diary.note("each", key)
            return item

        saga.child("pay", child)
        saga.wait_for("go", timeout_s=3000)

    saga.delay("nap", 0.05)

    @saga.step(retry=QUICK, timeout_s=3000)
    async def flaky(key: str) -> None:
        if diary.note("flaky", key) % 2:
            raise StepUnavailable("busy")

    @saga.compensates(flaky)
    def unflaky() -> None:
        pass

    @saga.step(compensation=None, retry=QUICK)
    def refuse(go: str) -> None:
        if go == "bad":
            raise StepRejected("bad")

    return saga, child


def _is_idle(engine: Engine) -> bool:
    return engine.active == 0


def test_when_all_sagas_have_ended_an_engine_holds_nothing_of_them(open_engine: OpenEngine) -> None:
    """No timer, no call, no follower, no child: after sagas that completed, aborted, and were cancelled."""
    diary = Diary()
    saga, child = mixed(diary)
    engine, other = open_engine(saga, child), open_engine()
    later = datetime.now(UTC) + timedelta(hours=1)
    handles = []
    for n in range(12):
        handle = engine.start(saga, {"n": n, "list": list(range(5))})
        handles += [handle, other.follow(handle.saga_id)]
        if n % 3 == 2:
            (engine, other)[n % 2].submit(handle.saga_id, Cancel(*ANN))
        else:
            (engine, other)[n % 2].signal(handle.saga_id, "go", "bad" if n % 3 else "good")
            other.signal(child_of(engine, handle.saga_id), "cleared")
    warn = engine.start(saga, {"n": 0, "list": []}, starts_at=later)
    engine.submit(warn.saga_id, Cancel(*ANN))
    ends = [handle.result(TIMEOUT_S).status for handle in [*handles, warn]]
    assert set(ends) == {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}
    for one in (engine, other):
        until(partial(_is_idle, one))
        loop = one._worker
        assert len(loop._timers) == 0
        assert len(loop._dispatch._under_way) == len(loop._dispatch._children._followed) == 0
        assert len(loop._remote) == 0
