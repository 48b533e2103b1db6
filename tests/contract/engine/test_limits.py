"""How many sagas run at once: the rest stay PENDING, are claimed when there is room, and by whoever has some."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import DefinitionError, StepRejected
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.runtime.handle import Handle
from saga_es.runtime.intake.client import Client
from saga_es.store.workers import Workers
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import events_of, has_happened, until, worker_of

Act = Callable[[], object]


def errand(act: Act, name: str = "errand", at_once: int | None = None) -> Saga:
    """A saga of one step."""
    saga = Saga(name, at_once=at_once)

    @saga.step(compensation=None, timeout_s=TIMEOUT_S)
    def go() -> None:
        act()

    return saga


class Crowd:
    """Counts who is inside at the same time; lets all out when the gate opens."""

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate
        self._lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.seen = 0

    def __call__(self) -> None:
        """Come in, stay until the gate is open, leave."""
        with self._lock:
            self.inside += 1
            self.seen += 1
            self.most = max(self.most, self.inside)
        self._gate.wait(TIMEOUT_S)
        with self._lock:
            self.inside -= 1


def statuses(store: Store, saga_ids: list[str]) -> Counter[SagaStatus]:
    found = (store.sagas.find(saga_id) for saga_id in saga_ids)
    return Counter(state.status for state in found if state is not None)


def test_a_full_worker_begins_no_more(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """What is started there or by others stays PENDING, nobody's; when there is room, all of it runs, two at a time."""
    crowd = Crowd(gate)
    saga = errand(crowd)
    engine = open_engine(saga, at_once=2)
    handles = [engine.start(saga) for _ in range(4)]
    ids = [handle.saga_id for handle in handles] + [Client(store, [saga]).start(saga).saga_id]
    until(lambda: crowd.inside == 2)
    assert statuses(store, ids) == {SagaStatus.IN_PROGRESS: 2, SagaStatus.PENDING: 3}
    assert engine.active == 2
    gate.set()
    assert all(handle.result(TIMEOUT_S).completed for handle in handles)
    until(lambda: statuses(store, ids) == {SagaStatus.COMPLETED: 5})
    assert (crowd.seen, crowd.most) == (5, 2)
    waited = next(id_ for id_ in ids if e.SagaBegan() in events_of(engine, id_))
    assert events_of(engine, waited)[:3] == [
        *(e.SagaStarted("errand", saga.plan_id, {}, None), e.SagaTakenOver(worker_of(engine), None), e.SagaBegan())
    ]


def test_hundreds_that_wait_run_through_a_narrow_worker(store: Store, open_engine: OpenEngine) -> None:
    """It looks for more as soon as there is room, so that none waits for the next look around."""
    crowd = Crowd(gate := threading.Event())
    gate.set()
    saga = errand(crowd)
    client = Client(store, [saga])
    ids = [client.start(saga).saga_id for _ in range(200)]
    open_engine(saga, at_once=4)
    assert all(client.result(saga_id, TIMEOUT_S).completed for saga_id in ids)
    assert (crowd.seen, crowd.most <= 4) == (200, True)


def test_a_definition_has_a_limit_of_its_own(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """Sagas of others run past those that wait for it."""
    narrow, wide = Crowd(gate), Crowd(gate)
    slow, quick = errand(narrow, "slow", at_once=1), errand(wide, "quick")
    engine = open_engine(slow, quick)
    ids = [engine.start(slow).saga_id for _ in range(3)]
    handles = [engine.start(quick) for _ in range(5)]
    until(lambda: (narrow.inside, wide.inside) == (1, 5))
    assert statuses(store, ids) == {SagaStatus.IN_PROGRESS: 1, SagaStatus.PENDING: 2}
    gate.set()
    assert all(handle.result(TIMEOUT_S).completed for handle in handles)
    until(lambda: statuses(store, ids) == {SagaStatus.COMPLETED: 3})
    assert narrow.most == 1


def test_a_limit_is_at_least_one() -> None:
    """With none, nothing would ever run."""
    with pytest.raises(DefinitionError, match="at least 1, not 0"):
        Saga("trip", at_once=0)


def test_a_saga_that_waits_takes_no_room(open_engine: OpenEngine) -> None:
    """A parent waits for its child, both of whom wait for a signal: one place is enough for all of them."""
    inner = Saga("inner", at_once=1)
    inner.wait_for("go", timeout_s=None)
    outer = Saga("outer", at_once=1)
    outer.child("inside", inner)
    engine = open_engine(outer, inner, at_once=1)
    handles = [engine.start(outer) for _ in range(3)]
    until(lambda: len(children_of(engine, handles)) == 3)
    for child in children_of(engine, handles):
        until(partial(has_happened, engine, child, e.WaitStarted))
        engine.signal(child, "go")
    assert all(handle.result(TIMEOUT_S).completed for handle in handles)


def children_of(engine: Engine, handles: Sequence[Handle]) -> list[str]:
    events = (event for handle in handles for event in events_of(engine, handle.saga_id))
    return [event.saga_id for event in events if isinstance(event, e.ChildStarted)]


def test_a_saga_that_waits_for_a_worker_can_be_cancelled(open_engine: OpenEngine, gate: threading.Event) -> None:
    """It ends at once, while no worker has capacity for it, and without a single call."""
    crowd = Crowd(gate)
    saga = errand(crowd)
    engine = open_engine(saga, at_once=1)
    engine.start(saga)
    until(lambda: crowd.inside == 1)
    waiting = engine.start(saga)
    engine.submit(waiting.saga_id, Cancel("ann", "too late"))
    assert waiting.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert (crowd.inside, crowd.seen) == (1, 1)
    assert e.SagaTakenOver not in map(type, events_of(engine, waiting.saga_id))


def test_a_saga_that_no_worker_knows_can_be_cancelled(store: Store) -> None:
    """A client alone ends it, whether it waits for a worker or for its time."""
    saga = errand(lambda: None)
    client = Client(store, [saga])
    for starts_at in (None, datetime.now(UTC) + timedelta(days=1)):
        waiting = client.start(saga, starts_at=starts_at)
        waiting.cancel(reason="too late", actor="ann")
        assert client.result(waiting.saga_id, TIMEOUT_S).status is SagaStatus.COMPENSATED


def test_a_repeated_start_finds_the_one_that_waits(open_engine: OpenEngine, gate: threading.Event) -> None:
    """Under the same key it is the same saga, and both are told of its end."""
    crowd = Crowd(gate)
    saga = errand(crowd)
    engine = open_engine(saga, at_once=1)
    engine.start(saga)
    first, second = engine.start(saga, key="k"), engine.start(saga, key="k")
    gate.set()
    assert first.result(TIMEOUT_S) == second.result(TIMEOUT_S)
    until(lambda: crowd.seen == 2)


def test_what_waits_is_shared_by_all_workers(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """Each takes what is its to take and what it has room for; not all go to the first who looks."""
    crowds = [Crowd(gate) for _ in range(3)]
    client = Client(store, [errand(crowds[0])])
    engines = [open_engine(errand(crowd), at_once=20) for crowd in crowds]
    until(lambda: len(Workers(store.database).heartbeats()) == 3)
    ids = [client.start("errand").saga_id for _ in range(60)]
    until(lambda: sum(crowd.inside for crowd in crowds) == 60)
    assert [crowd.inside for crowd in crowds] == [20, 20, 20]
    gate.set()
    assert all(client.result(saga_id, TIMEOUT_S).completed for saga_id in ids)
    assert sum(crowd.seen for crowd in crowds) == 60
    assert [engine.active for engine in engines] == [0, 0, 0]


def test_the_share_of_a_worker_without_room_goes_to_the_others(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """It keeps nothing to itself."""
    full, free = Crowd(gate), Crowd(opened := threading.Event())
    opened.set()
    first = open_engine(errand(full), at_once=1)
    first.start("errand")
    until(lambda: full.inside == 1)
    open_engine(errand(free))
    client = Client(store, [errand(free)])
    ids = [client.start("errand").saga_id for _ in range(20)]
    assert all(client.result(saga_id, TIMEOUT_S).completed for saga_id in ids)
    assert (full.seen, free.seen) == (1, 20)


def test_room_is_given_back_however_a_call_ends(open_engine: OpenEngine) -> None:
    """By a refusal, by a time-out, or with the saga that was taken from us."""

    def refuse() -> None:
        raise StepRejected("no")

    saga = errand(refuse)
    late = Saga("late")

    @late.step(compensation=None, timeout_s=0.1)
    async def never() -> None:
        await asyncio.sleep(1)

    engine = open_engine(saga, late, at_once=1, executor=Executor())
    handles = [engine.start(saga) for _ in range(5)] + [engine.start(late) for _ in range(2)]
    assert {handle.result(TIMEOUT_S).status for handle in handles} == {SagaStatus.COMPENSATED}
    assert engine._worker._dispatch._capacity.left == 1
