"""An order, whose payment is a saga of its own: what the tests of children have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saga_es.core import events as e
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.runtime.engine import Engine
from tests.conftest import Store
from tests.support.trips import QUICK, Diary, events_of, until

Act = Callable[[int], Any]


def payment(diary: Diary, acts: dict[str, Act] | None = None, *, waits: bool = False) -> Saga:
    """A child: it charges, perhaps waits for a signal, and books."""
    saga, acts = Saga("payment"), acts or {}

    def call(name: str, key: str) -> None:
        count = diary.note(name, key)
        if name in acts:
            acts[name](count)

    @saga.step(retry=QUICK)
    def charge(input: dict[str, Any], key: str) -> dict[str, Any]:  # noqa: A002 (the name a step asks for)
        call("charge", key)
        return {"charged": input["n"]}

    @saga.compensates(charge, retry=QUICK)
    def refund(key: str) -> None:
        call("refund", key)

    if waits:
        saga.wait_for("cleared", timeout_s=None)

    @saga.step(compensation=None, retry=QUICK)
    def book(key: str) -> str:
        call("book", key)
        return "booked"

    return saga


def order(child: Saga, diary: Diary, acts: dict[str, Act] | None = None, *, over: str | None = None) -> Saga:
    """A parent: it reserves, runs the child, and ships."""
    saga, acts = Saga("order"), acts or {}

    @saga.step
    def reserve(key: str) -> str:
        diary.note("reserve", key)
        return "reserved"

    @saga.compensates(reserve)
    def release(key: str) -> None:
        diary.note("release", key)

    if over is None:
        saga.child("pay", child, compensation_retry=QUICK)
    else:
        saga.child("pay", child, input=_of_element, over=over, at_once=2, compensation_retry=QUICK)

    @saga.step(compensation=None, retry=QUICK)
    def ship(key: str) -> str:
        count = diary.note("ship", key)
        if "ship" in acts:
            acts["ship"](count)
        return "shipped"

    return saga


def _of_element(item: int) -> dict[str, int]:
    return {"n": item}


INPUT = {"n": 7}
PAID = {"charge": {"charged": 7}, "book": "booked"}


def child_of(engine: Engine, parent: str, step: str = "pay") -> str:
    """The id of the saga that a step runs, as soon as it stands in the log."""

    def find() -> str | None:
        found = [at for at in events_of(engine, parent) if isinstance(at, e.ChildStarted) and at.step == step]
        return found[-1].saga_id if found and engine.read(found[-1].saga_id) else None

    return until(find) or ""


def state_of(store: Store, saga_id: str) -> SagaState:
    state = store.sagas.find(saga_id)
    assert state is not None
    return state
