"""Schemas of marshmallow in annotations: a step gets what they load, and the log holds what they dump."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import marshmallow as ma
import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import PayloadUnencodable
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import events_of


class Order:
    """A class that nothing but its schema can read."""

    def __init__(self, item: str, price: Decimal) -> None:
        self.item, self.price = item, price


class OrderSchema(ma.Schema):
    """Its schema."""

    item = ma.fields.String(required=True)
    price = ma.fields.Decimal(required=True, as_string=True)

    @ma.post_load
    def made(self, loaded: dict[str, Any], **_: Any) -> Order:
        """What it loads is an order."""
        return Order(**loaded)


def dear() -> Saga:
    """Three steps: one returns an order, one is awaited, one takes them."""
    saga = Saga("dear")

    @saga.step(compensation=None)
    def double(input: Annotated[Order, OrderSchema]) -> Annotated[Order, OrderSchema()]:  # noqa: A002
        return Order(input.item, input.price * 2)

    @saga.step(compensation=None)
    async def again(double: Annotated[Order, OrderSchema]) -> Annotated[Order, OrderSchema]:
        return Order(double.item, double.price * 2)

    @saga.step(compensation=None)
    def total(double: Annotated[Order, OrderSchema], again: Annotated[Order, OrderSchema]) -> str:
        return f"{double.item}: {double.price + again.price}"

    return saga


def test_a_step_gets_what_a_schema_loads_and_the_log_holds_what_it_dumps(open_engine: OpenEngine) -> None:
    """Whether the schema stands there as a class or an object, and whether the step is awaited."""
    engine = open_engine(dear())
    handle = engine.start("dear", OrderSchema().dump(Order("tea", Decimal("1.10"))))
    result = handle.result(TIMEOUT_S)
    assert (result.status, result.results["total"]) == (SagaStatus.COMPLETED, "tea: 6.60")
    recorded = [event.result for event in events_of(engine, handle.saga_id) if isinstance(event, e.StepCompleted)]
    assert recorded[:2] == [{"item": "tea", "price": "2.20"}, {"item": "tea", "price": "4.40"}]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_a_schema_refuses_is_refused_at_the_start(open_engine: OpenEngine) -> None:
    """With the field and what is wrong with it."""
    with pytest.raises(PayloadUnencodable, match=r"'price': \['Not a valid number.'\]"):
        open_engine(dear()).start("dear", {"item": "tea", "price": "much"})
