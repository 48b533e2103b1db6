"""An application of a user's, with types of its own: a test runs it, and type checkers read it where a user's is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from saga_es import App, Every, Handle, Participant, RetryPolicy, Saga, SagaResult, StepRejected, open_engine
from saga_es.client import open_client
from saga_es.flask import SagaES


@dataclass(frozen=True)
class Order:
    """What is ordered."""

    customer: str
    amount: Decimal


class Payment(BaseModel):
    """What was paid."""

    charge_id: str
    amount: Decimal


order = Saga("order", deadline_s=60)
stock = Participant("stock")


@order.step(retry=RetryPolicy(attempts=3), timeout_s=5)
def payment(input: Order, key: str) -> Payment:  # noqa: A002 (the name a step asks for)
    """A step with types of its own."""
    if input.amount > Decimal(100):
        raise StepRejected("too much")
    return Payment(charge_id=key, amount=input.amount)


@order.compensates(payment)
def refund(payment: Payment | None) -> None:
    """A compensation, which may have no result to look at."""
    del payment


@order.step(compensation=None)
async def letter(input: Order, payment: Payment) -> dict[str, str]:  # noqa: A002 (the name a step asks for)
    """A step that is awaited."""
    return {"to": input.customer, "about": payment.charge_id}


goods = Blueprint("goods", __name__)


@goods.get("/goods")
def list_goods() -> ResponseReturnValue:
    """A route of Flask's own."""
    return jsonify(["book"])


def nightly(at: datetime) -> Order:
    """The input of a schedule."""
    return Order(f"the house, {at:%d %B}", Decimal(1))


app = App(
    name="shop",
    sagas=[order],
    blueprints=[goods],
    schedules=[Every("0 3 * * *", order, nightly, tz="Asia/Tokyo", missed="skip")],
)
sagas = SagaES(saga_app=app)


def run(url: str) -> Payment:
    """Run one order, and return what its step returned, with its type."""
    with open_engine(url, app=app, lease_s=5.0) as engine:
        handle: Handle = engine.start(order, Order("ann", Decimal(20)), key="order-1")
        result: SagaResult = handle.result(timeout=20)
        assert handle.status().status == result.status
        return result.of(payment)


async def run_awaited(url: str) -> dict[str, str]:
    """The same, with `await`."""
    async with open_engine(url, order) as engine:
        handle = engine.start(order, {"customer": "ann", "amount": "20"}, wait=False)
        await handle.until_started()
        result = await handle
        about: dict[str, str] = result.results["letter"]
        return about


def ask(url: str, saga_id: str) -> bool:
    """Ask from a process that runs no sagas."""
    with open_client(url, order) as client:
        return client.follow(saga_id).result(20).completed
