"""A restart while thousands of sagas wait: what can go on goes on first, and nothing waits until all are taken over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from saga_es.commands import SendSignal
from saga_es.core import events as e
from saga_es.core.plan import Plan, Signal, StepPlan
from saga_es.definition.saga import Saga
from saga_es.runtime.cluster.recovery import WAITING_AT_ONCE
from saga_es.runtime.engine import Engine
from saga_es.runtime.inbox import CommandRequest
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.waiting.clock import SystemClock
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.ports import Receipt
from saga_es.store.tables import saga_events
from saga_es.store.writer import Writer
from tests.conftest import AT, TIMEOUT_S, OpenEngine, Store
from tests.support.trips import until

MANY = 3_000
GONE = "w-gone"
NEWEST = f"s{MANY - 1:04}"
AFTER = datetime(2026, 6, 1, tzinfo=UTC)
"""When the last sagas of a test start: after all that wait."""


def waiting(name: str = "waits") -> Saga:
    saga = Saga(name)
    saga.wait_for("go", timeout_s=None)
    return saga


def timed() -> Saga:
    saga = Saga("timed")
    saga.delay("later", seconds=60)
    return saga


def late() -> Saga:
    saga = Saga("late", deadline_s=60.0)
    saga.wait_for("go", timeout_s=None)
    return saga


def busy() -> Saga:
    saga = Saga("busy")

    @saga.step(compensation=None)
    def act() -> None:
        pass

    return saga


def branching() -> Saga:
    """Two steps at once, of which one waits."""
    saga = Saga("branching")
    with saga.together():
        saga.wait_for("go", timeout_s=None)

        @saga.step(compensation=None)
        def act() -> None:
            pass

    return saga


def fill(store: Store, saga: Saga, many: int = MANY) -> None:
    """Append so many sagas of a worker that is gone, the oldest first; each waits for a signal."""
    events = (e.SagaStarted(saga.name, saga.plan_id, {}, GONE), e.WaitStarted("go"))
    planned(store, saga)
    for first in range(0, many, 1000):
        numbers = range(first, min(first + 1000, many))
        store.write(*(Draft(f"s{n:04}", SAGA, 0, events, AT + timedelta(seconds=n)) for n in numbers))


def planned(store: Store, *sagas: Saga) -> None:
    plans = store.sagas.unrecorded([saga.plan for saga in sagas])
    if plans:
        store.write(*(Draft(id_, PLAN, 0, (event,), AT) for id_, event in plans))


def left_by(store: Store, saga: Saga, *events: e.SagaEvent, deadline_at: datetime | None = None) -> str:
    """Append the youngest saga, of a worker that is gone; its id."""
    planned(store, saga)
    started = e.SagaStarted(saga.name, saga.plan_id, {}, GONE, deadline_at=deadline_at)
    store.write(Draft(saga.name, SAGA, 0, (started, *events), AFTER))
    return saga.name


def taken_before(store: Store, saga_id: str) -> int:
    """How many others were taken over before a saga was."""
    is_takeover = saga_events.c.type == "SagaTakenOver"
    with store.database.reading() as connection:
        own = sa.select(sa.func.min(saga_events.c.position)).where(is_takeover, saga_events.c.stream_id == saga_id)
        position = connection.scalar(own)
        assert position is not None, "it was taken over"
        before = sa.select(sa.func.count()).where(is_takeover, saga_events.c.position < position)
        return connection.scalar(before) or 0


class Halting(Writer):
    """A writer that halts after some batches of takeovers, until it may go on."""

    def __init__(self, store: Store, batches: int) -> None:
        super().__init__(store.database, store.log, store.views)
        self._left = batches
        self.has_halted = threading.Event()
        self.may_go_on = threading.Event()

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, and halt if it is time."""
        receipts = super().write(batch)
        self._left -= any(isinstance(event, e.SagaTakenOver) for its in batch for event in its.draft.events)
        if self._left == 0 and not self.has_halted.is_set():
            self.has_halted.set()
            assert self.may_go_on.wait(TIMEOUT_S)
        return receipts


@pytest.fixture
def halting(store: Store, open_engine: OpenEngine) -> tuple[Engine, Halting]:
    """An engine in the midst of a takeover: it halts after the second batch."""
    saga = waiting()
    fill(store, saga)
    writer = Halting(store, 2)
    engine = open_engine(saga, busy(), writer=writer)
    assert writer.has_halted.wait(TIMEOUT_S)
    return engine, writer


def test_a_saga_that_is_sent_something_is_taken_over_before_those_that_only_wait(
    store: Store, halting: tuple[Engine, Halting]
) -> None:
    """The newest of thousands follows its signal though hardly any have been taken over."""
    engine, writer = halting
    request = CommandRequest(NEWEST, SendSignal("go", 1), Future())
    engine._put(request)
    writer.may_go_on.set()
    request.done.result(TIMEOUT_S)
    assert engine.follow(NEWEST).result(TIMEOUT_S).completed
    assert taken_before(store, NEWEST) <= 5 * WAITING_AT_ONCE


def test_a_saga_that_another_process_sends_something_is_taken_over_first_too(
    store: Store, halting: tuple[Engine, Halting]
) -> None:
    """A notification says so."""
    engine, writer = halting
    Commands(store, SystemClock()).record(NEWEST, SendSignal("go", 1))
    writer.may_go_on.set()
    assert engine.follow(NEWEST).result(TIMEOUT_S).completed
    assert taken_before(store, NEWEST) <= MANY - 2 * WAITING_AT_ONCE


def test_a_saga_whose_end_somebody_awaits_is_taken_over_first(store: Store, halting: tuple[Engine, Halting]) -> None:
    """A handle here follows it."""
    engine, writer = halting
    engine.follow(NEWEST)
    writer.may_go_on.set()
    until(lambda: engine.active == MANY)
    assert taken_before(store, NEWEST) <= 5 * WAITING_AT_ONCE


def test_a_saga_starts_and_ends_while_thousands_are_taken_over(halting: tuple[Engine, Halting]) -> None:
    """A start waits for one batch of the takeover, not for the whole."""
    engine, writer = halting
    handle = engine.start("busy", {}, wait=False)
    owned = engine.active
    writer.may_go_on.set()
    assert handle.result(TIMEOUT_S).completed
    assert engine.active <= owned + 5 * WAITING_AT_ONCE


PASSED = datetime.now(UTC) - timedelta(seconds=1)
DUE: dict[str, tuple[Callable[[], Saga], tuple[e.SagaEvent, ...], datetime | None]] = {
    "its time has passed": (timed, (e.WaitStarted("later", PASSED),), None),
    "its deadline has passed": (late, (e.WaitStarted("go"),), PASSED),
    "its retry is due": (busy, (e.StepStarted("act", 1), e.StepFailed("act", 1, "unavailable", "x", PASSED)), None),
    "its call was in flight": (busy, (e.StepStarted("act", 1),), None),
    "its call was in flight while a step waited": (branching, (e.StepStarted("act", 1), e.WaitStarted("go")), None),
    "a signal came": (partial(waiting, "other"), (e.WaitStarted("go"), e.SignalReceived("go")), None),
    "it was resumed": (busy, (e.StepStarted("act", 1), e.SagaPaused("a", "b"), e.SagaResumed("a", "b")), None),
}


@pytest.mark.parametrize("case", DUE)
def test_a_saga_that_can_go_on_is_taken_over_before_those_that_only_wait(
    store: Store, open_engine: OpenEngine, case: str
) -> None:
    """However young it is."""
    made, events, deadline_at = DUE[case]
    saga = made()
    fill(store, waiting(), 1_000)
    saga_id = left_by(store, saga, *events, deadline_at=deadline_at)
    engine = open_engine(waiting(), saga)
    until(lambda: engine.active >= 1_000)
    assert taken_before(store, saga_id) <= WAITING_AT_ONCE


def test_a_takeover_of_sagas_that_only_wait_costs_few_queries(store: Store, open_engine: OpenEngine) -> None:
    """Some for each batch, and none for each saga."""
    fill(store, waiting())
    statements: list[str] = []
    sa.event.listen(
        store.database.engine, "before_cursor_execute", lambda *about: statements.append(about[2]), named=False
    )
    engine = open_engine(waiting())
    until(lambda: engine.active == MANY)
    assert len(statements) <= 20 * MANY / WAITING_AT_ONCE


def test_sagas_that_only_wait_need_no_capacity(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """They are taken over while the only place of their definition is taken."""
    saga = Saga("waits", at_once=1)
    saga.wait_for("go", timeout_s=None)

    @saga.step(compensation=None)
    def act() -> None:
        gate.wait(TIMEOUT_S)

    fill(store, saga, 20)
    engine = open_engine(saga)
    engine.signal("s0000", "go")
    until(lambda: engine.active == 20)
    gate.set()


def test_the_plan_of_a_branching_saga_tells_that_it_may_have_a_call_in_flight(store: Store) -> None:
    """The view cannot tell: of two steps at once, the last that moved decides. Such sagas come before the others."""
    both = StepPlan(name="a", title="", after=(), work=Signal(None)), StepPlan(name="b", title="", after=())
    assert not Plan("p", both).is_sequence
    fill(store, waiting(), 2)
    left_by(store, branching(), e.StepStarted("act", 1), e.WaitStarted("go"))
    found = store.workers.waiting_orphans(10, ["waits", "branching"], [waiting().plan_id], datetime.now(UTC))
    assert list(found) == ["branching", "s0000", "s0001"]
