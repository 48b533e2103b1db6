"""Inputs and results of sagas that wait leave the memory beyond a budget, and are there when a call needs them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.state import SagaState, SagaStatus, payload_size
from saga_es.definition.saga import Saga
from saga_es.errors import SagaExists
from saga_es.runtime.engine import Engine
from saga_es.runtime.owned import OwnedSagas
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.ports import Receipt
from saga_es.store.writer import Writer
from tests.conftest import AT, TIMEOUT_S, OpenEngine, Store
from tests.contract.engine.test_many_waiting import planned
from tests.support.trips import until

MEGABYTE = 1_000_000
SIZE = 900_000
MANY = 200
BUDGET = 20 * MEGABYTE
LONG_S = 10 * TIMEOUT_S


def careful() -> Saga:
    """A saga that waits, then needs what it was given before."""
    saga = Saga("careful")

    @saga.step(compensation=None)
    def fetch(input: dict[str, str]) -> str:  # noqa: A002 (the name a step asks for)
        return input["text"][:10]

    saga.wait_for("go", timeout_s=None)

    @saga.step
    def use(input: dict[str, str], fetch: str, go: int) -> tuple[int, str, int]:  # noqa: A002 (the same)
        return len(input["text"]), fetch, go

    @saga.compensates("use")
    def unuse(use: list[object]) -> None:
        assert use

    return saga


def text_of(number: int) -> str:
    return f"{number:010}" + "x" * (SIZE - 10)


def left_waiting(store: Store, saga: Saga, many: int) -> list[str]:
    """Append large sagas of a worker that is gone; each waits for its signal."""
    planned(store, saga)
    ids = [f"s{number:03}" for number in range(many)]
    for number, saga_id in enumerate(ids):
        started = e.SagaStarted(saga.name, saga.plan_id, {"text": text_of(number)}, "w-gone")
        done = e.StepCompleted("fetch", text_of(number)[:10])
        store.write(Draft(saga_id, SAGA, 0, (started, e.StepStarted("fetch", 1), done, e.WaitStarted("go")), AT))
    return ids


def in_memory(engine: Engine) -> list[SagaState]:
    """The states of all sagas that an engine owns."""
    states = (owned_by(engine).state(saga_id) for saga_id in owned_by(engine).ids)
    return [state for state in states if state is not None]


def owned_by(engine: Engine) -> OwnedSagas:
    return engine._worker._owned


class Watching(Writer):
    """A writer that sees at each commit how many bytes its engine holds."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database, store.log, store.views)
        self.most = 0
        self.owned: OwnedSagas | None = None

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, and look."""
        self.most = max(self.most, self.owned.held if self.owned else 0)
        return super().write(batch)


def test_large_sagas_that_wait_need_no_memory_and_go_on_with_all_that_they_know(
    store: Store, open_engine: OpenEngine
) -> None:
    """After a takeover as after a start: 180 MB of inputs under a budget of 20, and all end as they should."""
    saga = careful()
    ids = left_waiting(store, saga, MANY)
    writer = Watching(store)
    engine = open_engine(saga, writer=writer, payload_memory=BUDGET)
    writer.owned = owned_by(engine)
    until(lambda: engine.active == MANY, LONG_S)
    fresh = [engine.start(saga, {"text": text_of(n)}, saga_id=f"f{n}").saga_id for n in range(30)]
    until(lambda: owned_by(engine).held <= BUDGET)
    assert sum(map(payload_size, in_memory(engine))) <= BUDGET
    assert len(owned_by(engine).asleep) > MANY - BUDGET / SIZE
    for number, saga_id in enumerate([*ids, *fresh]):
        engine.signal(saga_id, "go", number)
    for number, saga_id in enumerate([*ids, *fresh]):
        text = text_of(number if number < MANY else number - MANY)[:10]
        assert engine.follow(saga_id).result(LONG_S).results["use"] == [SIZE, text, number]
    assert writer.most <= BUDGET + SIZE, "where nothing falls asleep for a second, one saga wakes all the same"
    until(lambda: engine.active == 0)
    assert owned_by(engine).held == 0


@pytest.fixture
def sleeping(store: Store, open_engine: OpenEngine) -> Engine:
    """An engine that keeps no payloads of sagas that wait."""
    del store
    return open_engine(careful(), payload_memory=0)


def asleep(engine: Engine, saga_id: str) -> None:
    """Start a saga and wait until it sleeps."""
    engine.start("careful", {"text": text_of(1)}, saga_id=saga_id)
    until(lambda: saga_id in owned_by(engine).asleep)


def test_a_saga_that_sleeps_is_compensated_with_what_it_knew(sleeping: Engine) -> None:
    """A cancel wakes it."""
    asleep(sleeping, "s")
    sleeping.submit("s", Cancel("ann", "no more"))
    assert sleeping.follow("s").result(TIMEOUT_S).status is SagaStatus.COMPENSATED


def test_a_start_of_a_saga_that_sleeps_is_compared_with_its_input(sleeping: Engine) -> None:
    """The same input joins it, another is refused."""
    asleep(sleeping, "s")
    assert sleeping.start("careful", {"text": text_of(1)}, saga_id="s").saga_id == "s"
    with pytest.raises(SagaExists):
        sleeping.start("careful", {"text": "other"}, saga_id="s")


def test_a_saga_that_sleeps_hears_what_another_process_sends(store: Store, sleeping: Engine) -> None:
    """Its stream has moved on when it wakes."""
    asleep(sleeping, "s")
    handle = sleeping.follow("s")
    state = store.sagas.find("s")
    assert state is not None
    store.write(Draft("s", SAGA, state.version, (e.SignalReceived("go", 7),), AT, notifies=True))
    assert handle.result(TIMEOUT_S).results["use"][2] == 7


def test_a_saga_that_was_taken_over_while_it_slept_is_dropped_when_it_wakes(store: Store, sleeping: Engine) -> None:
    """The log says who owns it; a command is forwarded to that worker."""
    asleep(sleeping, "s")
    state = store.sagas.find("s")
    assert state is not None
    store.workers.beat("w-other", sleeping._worker._heartbeat._heartbeat._process)
    store.write(Draft("s", SAGA, state.version, (e.SagaTakenOver("w-other", state.owner),), AT))
    sleeping.signal("s", "go", 1)
    until(lambda: sleeping.active == 0)
    taken = store.sagas.find("s")
    assert taken is not None
    assert (taken.owner, taken.signals) == ("w-other", {"go": (1,)})


def test_calls_that_hang_do_not_keep_a_saga_asleep(open_engine: OpenEngine, gate: threading.Event) -> None:
    """They hold more than the budget: then one saga after the other is woken all the same."""
    hanging = Saga("hanging")

    @hanging.step(compensation=None)
    def hang(input: dict[str, str]) -> None:  # noqa: A002 (the name a step asks for)
        assert input
        gate.wait(TIMEOUT_S)

    engine = open_engine(careful(), hanging, payload_memory=MEGABYTE)
    asleep_or_awake = engine.start("careful", {"text": text_of(1)}, saga_id="s")
    for number in range(2):
        engine.start(hanging, {"text": text_of(number)})
    until(lambda: "s" in owned_by(engine).asleep)
    engine.signal("s", "go", 1)
    assert asleep_or_awake.result(TIMEOUT_S).completed
    gate.set()
