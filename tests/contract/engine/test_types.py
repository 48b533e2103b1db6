"""Types of the application's own: a step gets what its annotation says, and the log holds JSON."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

import msgspec
import pydantic
import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import NotFound, PayloadUnencodable, StepRejected
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import events_of

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Colour(Enum):
    """An enumeration whose values are texts."""

    RED = "red"


@dataclass
class Line:
    """A line of an order."""

    price: Decimal
    colour: Colour | None = None


@dataclass
class Order:
    """An order with all that JSON does not have."""

    lines: list[Line]
    at: datetime
    day: date
    customer: UUID
    photo: bytes
    tags: set[str] = field(default_factory=set)
    by_number: dict[int, Decimal] = field(default_factory=dict)


class Booked(msgspec.Struct):
    """A struct."""

    total: Decimal


class Paid(pydantic.BaseModel):
    """A model that refuses what it is not."""

    amount: Decimal = pydantic.Field(gt=0)
    at: datetime


ORDER = Order(
    [Line(Decimal("1.10"), Colour.RED), Line(Decimal("2.20"))],
    datetime(2030, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
    date(2030, 1, 2),
    UUID(int=7),
    b"\x00\xff",
    {"a", "b"},
    {7: Decimal("0.10")},
)


def test_each_step_gets_what_its_annotation_says(open_engine: OpenEngine) -> None:
    """Dataclasses, structs and models, as input and as results, also in compensations; the log has plain JSON."""
    saga = Saga("shop")
    given: list[Any] = []

    @saga.step
    def book(input: Order) -> Booked:  # noqa: A002 (the field's word)
        given.append(input)
        return Booked(sum((line.price for line in input.lines), Decimal(0)))

    @saga.compensates(book)
    def unbook(book: Booked | None, input: Annotated[Order, "the same"]) -> None:  # noqa: A002 (the field's word)
        given.extend([book, input])

    @saga.step(compensation=None)
    def pay(book: Booked) -> Paid:
        given.append(book)
        return Paid(amount=book.total, at=ORDER.at)

    @saga.step(compensation=None)
    def send(pay: Paid) -> None:
        given.append(pay)
        raise StepRejected("no van")

    engine = open_engine(saga)
    result = engine.start(saga, ORDER, saga_id="s-1").result(TIMEOUT_S)
    assert result.status is SagaStatus.COMPENSATED, result.error
    booked, paid = Booked(Decimal("3.30")), Paid(amount=Decimal("3.30"), at=ORDER.at)
    assert given == [ORDER, booked, paid, booked, ORDER]
    started = next(event for event in events_of(engine, "s-1") if isinstance(event, e.SagaStarted))
    assert started.input["photo"] == "AP8="
    assert started.input["tags"] == ["a", "b"]
    assert started.input["lines"] == [{"price": "1.10", "colour": "red"}, {"price": "2.20", "colour": None}]


@SQLITE
def test_a_result_is_read_as_its_function_says(open_engine: OpenEngine) -> None:
    """Also a model of pydantic, and a list of what JSON does not have."""
    saga = Saga("shop")

    @saga.step(compensation=None)
    def pay(input: Paid) -> Paid:  # noqa: A002 (the field's word)
        return input

    @saga.step(compensation=None)
    def days() -> list[date]:
        return [ORDER.day]

    paid = Paid(amount=Decimal("1.10"), at=ORDER.at)
    result = open_engine(saga).start(saga, paid).result(TIMEOUT_S)
    assert (result.of(pay), result.of(days)) == (paid, [ORDER.day])


@SQLITE
@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"amount": "1.10"}, "at"), ({"amount": "-1", "at": "2030-01-01T00:00:00Z"}, "amount"), ({}, "amount")],
)
def test_an_input_that_no_step_could_be_given_is_refused_at_the_start(
    open_engine: OpenEngine, wrong: dict[str, Any], why: str
) -> None:
    """With the place in the input, and the step; nothing is in the log."""
    saga = Saga("shop")

    @saga.step(compensation=None)
    def pay(input: Paid) -> None:  # noqa: A002 (the field's word)
        """Never called."""

    engine = open_engine(saga)
    with pytest.raises(PayloadUnencodable, match=rf"(?s)'pay' asks for: .*{why}"):
        engine.start(saga, wrong, saga_id="s-1")
    with pytest.raises(NotFound):
        engine.follow("s-1").status()


@SQLITE
def test_what_no_annotation_saves_is_refused_with_its_path(open_engine: OpenEngine) -> None:
    """A field that says nothing of its type would be read back as something else."""
    saga = Saga("shop")

    @dataclass
    class Loose:
        inner: Any

    @saga.step(compensation=None)
    def pay() -> None:
        """Never called."""

    engine = open_engine(saga)
    for inner, path in (
        ({"photo": b"x"}, r"input\.inner\.photo is 1 bytes"),
        ([{1}], r"input\.inner\[0\] is a set"),
        (float("nan"), r"input\.inner is NaN"),
        ({7: 1}, r"input\.inner has the key 7"),
    ):
        with pytest.raises(PayloadUnencodable, match=path):
            engine.start(saga, Loose(inner))


@SQLITE
def test_a_result_that_fits_no_annotation_rejects_the_step_that_asks_for_it(open_engine: OpenEngine) -> None:
    """Nothing was done there, so the saga compensates without it."""
    saga = Saga("shop")

    @saga.step(compensation=None)
    def pay() -> Any:
        return {"amount": "many"}

    @saga.step(compensation=None)
    def send(pay: Paid) -> None:
        """Never called."""

    result = open_engine(saga).start(saga).result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "send")
    assert "'pay' does not fit its annotation in 'send'" in (result.error or "")


@SQLITE
def test_what_nobody_can_read_is_given_as_the_log_has_it(open_engine: OpenEngine) -> None:
    """A class that is not there where the program runs, or that has no fields; a plain type is not looked at."""
    saga = Saga("shop")

    class Opaque:
        """Without fields."""

    @saga.step(compensation=None)
    def pay(input: Unknown) -> Opaque:  # noqa: A002 (the field's word)
        return cast("Opaque", input)

    @saga.step(compensation=None)
    def send(pay: Opaque, input: dict[str, int]) -> Any:  # noqa: A002 (the field's word)
        return [pay, input]

    result = open_engine(saga).start(saga, {"a": "b"}).result(TIMEOUT_S)
    assert result.results["send"] == [{"a": "b"}, {"a": "b"}]


def test_pydantic_is_not_imported_by_an_application_without_its_models(tmp_path: Path) -> None:
    """Not even when a saga with a dataclass runs."""
    program = """
import sys
from dataclasses import dataclass
from datetime import date
from saga_es import Saga, open_engine

@dataclass
class Order:
    day: date

shop = Saga("shop")

@shop.step(compensation=None)
def order(input: Order) -> int:
    return input.day.year

with open_engine("sqlite:///shop.db", shop) as engine:
    print(engine.start(shop, Order(date(2030, 1, 2))).result(60).results["order"], "pydantic" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert ran.stdout == "2030 False\n", ran.stderr
