"""A saga that came from another log is shown and followed here, and is never the answer to somebody's start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.definition.saga import Saga
from saga_es.errors import SagaExists
from saga_es.runtime.engine import Engine
from saga_es.runtime.ids import idempotency_key, saga_id_for
from saga_es.store.archive.bundle import Writing
from saga_es.store.archive.importing import By, Importing
from saga_es.store.log.chain import chain
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft, Entry, prepare
from tests.conftest import AT, TIMEOUT_S, OpenEngine, Store
from tests.contract.engine.test_client import client_of
from tests.support.trips import until

INPUT = {"amount": 7}
NO_ANSWER = "was imported from another log, and answers no start here"


def pay() -> Saga:
    saga = Saga("pay")

    @saga.step(compensation=None)
    def charge(key: str) -> str:
        return f"charged by {key}"

    return saga


def order(child: Saga) -> Saga:
    saga = Saga("order")
    saga.child("pay", child)
    return saga


PAID = [e.StepStarted("charge", 1), e.StepCompleted("charge", "forged"), e.SagaCompleted()]


def brought(store: Store, folder: Path, *streams: tuple[str, Saga, list[Any]], parent: str | None = None) -> None:
    """Import sagas that were written by hand, with right hashes: only what this log knows tells them from others."""
    drafts = [Draft(saga.plan_id, PLAN, 0, (e.PlanRecorded(saga.plan),), AT) for _, saga, _ in streams]
    for saga_id, saga, events in streams:
        of = parent if saga_id != parent else None
        started = e.SagaStarted(saga.name, saga.plan_id, INPUT, "worker-elsewhere", parent=of)
        drafts.append(Draft(saga_id, SAGA, 0, (started, *events), AT))
    with (folder / "forged.ndjson").open("wb") as file:
        writing = Writing(file, AT)
        for draft in drafts:
            rows = prepare(draft, store.codec).rows
            chain(rows, {})
            writing.add([_entry(row, position) for position, row in enumerate(rows, 1)])
        writing.end()
    importing = Importing(store.database, store.log, store.sagas, store.views, By("mallory"), unfinished=True)
    list(importing.bring(folder / "forged.ndjson"))


def _entry(row: dict[str, Any], position: int) -> Entry:
    return Entry(**{"text" if name == "data" else name: value for name, value in row.items()}, position=position)


STARTS: list[Callable[[Store, Engine, Saga], object]] = [
    lambda _, engine, saga: engine.start(saga, INPUT, key="order-7").result(TIMEOUT_S),
    lambda _, engine, saga: engine.start(saga, INPUT, saga_id=saga_id_for("pay", "order-7")).result(TIMEOUT_S),
    lambda store, _, saga: client_of(store, saga).start(saga, INPUT, key="order-7"),
]


@pytest.mark.parametrize("start", STARTS)
def test_a_result_that_was_forged_under_a_key_is_not_the_answer_to_that_key(
    store: Store, open_engine: OpenEngine, tmp_path: Path, start: Callable[[Store, Engine, Saga], object]
) -> None:
    """Nobody was charged: the caller hears so instead of a result. Other keys and readers get what is there."""
    saga, saga_id = pay(), saga_id_for("pay", "order-7")
    brought(store, tmp_path, (saga_id, saga, PAID))
    engine = open_engine(saga)
    with pytest.raises(SagaExists, match=NO_ANSWER):
        start(store, engine, saga)
    assert engine.start(saga, INPUT, key="order-8").result(TIMEOUT_S).results != {"charge": "forged"}
    assert engine.follow(saga_id).result(TIMEOUT_S).results == {"charge": "forged"}


def test_a_start_in_a_transaction_of_the_callers_is_not_answered_by_it_either(
    store: Store, open_engine: OpenEngine, tmp_path: Path
) -> None:
    """And the transaction can go on."""
    saga = pay()
    brought(store, tmp_path, (saga_id_for("pay", "order-7"), saga, PAID))
    engine = open_engine(saga)
    with store.database.writing() as connection, pytest.raises(SagaExists, match=NO_ANSWER):
        engine.start(saga, INPUT, key="order-7", connection=connection)


def test_a_foreign_saga_that_goes_on_here_answers_no_start_while_it_runs(
    store: Store, open_engine: OpenEngine, tmp_path: Path
) -> None:
    """Also where the worker that is asked owns it."""
    saga, saga_id = Saga("pay"), saga_id_for("pay", "order-7")
    saga.wait_for("approval", timeout_s=None)
    brought(store, tmp_path, (saga_id, saga, [e.StepStarted("approval", 1), e.WaitStarted("approval")]))
    engine = open_engine(saga)
    handle = engine.follow(saga_id)
    until(lambda: any(isinstance(found.event, e.SagaTakenOver) for found in store.log.read(saga_id)))
    with pytest.raises(SagaExists, match=NO_ANSWER):
        engine.start(saga, INPUT, key="order-7").result(TIMEOUT_S)
    engine.signal(saga_id, "approval", "yes")
    assert handle.result(TIMEOUT_S).status == "COMPLETED"


def test_a_child_that_was_forged_is_not_the_answer_to_its_parent(
    store: Store, open_engine: OpenEngine, tmp_path: Path
) -> None:
    """The parent was started here, so its child was not: the parent needs a person, and says why."""
    child = pay()
    parent = order(child)
    forged = idempotency_key("order-9", "pay/1", Direction.ACTION)
    brought(store, tmp_path, (forged, child, PAID), parent="order-9")
    engine = open_engine(parent, child)
    ended = engine.start(parent, INPUT, saga_id="order-9").result(TIMEOUT_S)
    assert ended.status == "FAILED"
    assert NO_ANSWER in str(ended.error)


def test_a_foreign_family_goes_on_as_a_family(store: Store, open_engine: OpenEngine, tmp_path: Path) -> None:
    """A parent that came from another log gets the answer of its child that came from there."""
    child = pay()
    parent, child_id = order(child), idempotency_key("order-9", "pay/1", Direction.ACTION)
    called = [e.StepStarted("pay", 1), e.ChildStarted("pay", "pay", child_id, INPUT)]
    brought(store, tmp_path, ("order-9", parent, called), (child_id, child, PAID), parent="order-9")
    engine = open_engine(parent, child)
    assert engine.follow("order-9").result(TIMEOUT_S).results == {"pay": {"charge": "forged"}}
