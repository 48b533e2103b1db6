"""Types of the application's own, encrypted: a step gets what its annotation says, and nothing of it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pydantic

from saga_es import Every, Saga
from saga_es.core import events as e
from saga_es.node.node import Node
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.schedules import Schedules
from tests.conftest import TIMEOUT_S
from tests.support.encrypted import CANARY, everything, key_file, opened


@dataclass
class Purchase:
    """An input."""

    customer: str
    card: str
    price: Decimal


class Seat(msgspec.Struct):
    """The result of a step."""

    number: str
    price: Decimal


class Receipt(pydantic.BaseModel):
    """The result of another."""

    text: str
    total: Decimal


def typed() -> Saga:
    """A saga whose steps take and return types of their own."""
    saga = Saga("typed", subject="customer")

    @saga.step(compensation=None)
    def reserve(input: Purchase) -> Seat:  # noqa: A002 (the name a step asks for)
        return Seat(f"{CANARY}-seat for {input.card}", input.price / 3)

    @saga.step(compensation=None)
    def pay(input: Purchase, reserve: Seat) -> Receipt:  # noqa: A002 (the name a step asks for)
        return Receipt(text=f"{reserve.number}, {type(input).__name__}", total=reserve.price * 3)

    return saga


BOUGHT = Purchase("ann", f"{CANARY}-card", Decimal("9.99"))
RECEIPT = {"text": f"{CANARY}-seat for {CANARY}-card, Purchase", "total": "9.99"}


def test_types_come_back_from_what_is_encrypted(database_url: str, tmp_path: Path) -> None:
    """Input and results; the database holds none of it as text."""
    with opened(database_url, key_file(tmp_path), typed()) as node:
        result = node.engine.start("typed", BOUGHT).result(TIMEOUT_S)
        assert result.results["pay"] == RECEIPT
    assert CANARY not in everything(database_url)


def test_a_schedule_starts_encrypted_sagas(database_url: str, tmp_path: Path) -> None:
    """With an input of a type of its own; neither the saga nor the schedule holds it as text."""
    saga = typed()
    with opened(database_url, key_file(tmp_path), saga) as node:
        (saga_id,) = _started(node, Every("0 3 * * *", saga, lambda _at: BOUGHT))
        assert node.engine.follow(saga_id).result(TIMEOUT_S).results["pay"] == RECEIPT
        assert isinstance(node.store.log.read(saga_id)[0].event, e.SagaStarted)
    assert CANARY not in everything(database_url)


def _started(node: Node, every: Every) -> list[str]:
    """The sagas that the schedule starts at the last of its times."""
    schedules = Schedules(node.store, Starts(node.store, [every.saga], node.clock), [every])
    now = datetime.now(UTC)
    schedules.keep(now - timedelta(days=2))
    fresh = Schedules(node.store, Starts(node.store, [every.saga], node.clock), [every])
    return fresh.keep(now)
