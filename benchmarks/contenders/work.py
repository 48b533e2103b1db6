"""The canonical work: a saga of four steps, each a function that returns a small dict, and sagas that wait."""

from __future__ import annotations

import asyncio
from typing import Any

from saga_es import Saga, StepRejected

INPUT = {"customer": "c-1042", "amount": 129.5, "seats": 2}
"""The input of every saga. The failing twin has `refuse` in its input, too."""

REFUSED = {**INPUT, "refuse": True}

trip = Saga("trip")
"""Four steps. With `refuse`, the fourth step refuses and the other three are compensated."""


@trip.step
def flight(input: Any) -> dict[str, Any]:
    return {"flight_id": "f-7", "seats": input["seats"]}


@trip.step
def hotel(flight: Any) -> dict[str, Any]:
    return {"hotel_id": "h-3", "near": flight["flight_id"]}


@trip.step
def car(hotel: Any) -> dict[str, Any]:
    return {"car_id": "c-9", "at": hotel["hotel_id"]}


@trip.step
def payment(input: Any) -> dict[str, Any]:
    if input.get("refuse"):
        raise StepRejected("the card was refused")
    return {"payment_id": "p-1", "amount": input["amount"]}


@trip.compensates(flight)
def cancel_flight(flight: Any) -> None:
    del flight


@trip.compensates(hotel)
def cancel_hotel(hotel: Any) -> None:
    del hotel


@trip.compensates(car)
def cancel_car(car: Any) -> None:
    del car


@trip.compensates(payment)
def refund(payment: Any) -> None:
    del payment


HAPPY_EVENTS, HAPPY_APPENDS = 10, 5
REFUSED_EVENTS, REFUSED_APPENDS = 17, 8


def held(*, is_held: bool) -> Saga:
    """A saga like the canonical one. If it is held, its second step never answers, so that it can be interrupted."""
    saga = Saga("held")

    async def first(input: Any) -> dict[str, Any]:
        return {"order": input["amount"]}

    async def second() -> dict[str, Any]:
        if is_held:
            await asyncio.Event().wait()
        return {"done": True}

    def third(second: Any) -> dict[str, Any]:
        return {"after": second["done"]}

    def fourth(third: Any) -> dict[str, Any]:
        return {"last": third["after"]}

    saga.step(compensation=None)(first)
    saga.step(compensation=None, timeout_s=3600.0)(second)
    saga.step(compensation=None)(third)
    saga.step(compensation=None)(fourth)
    return saga


waits_for_signal = Saga("waits-for-signal")
"""Waits for a signal, for at most a day."""
waits_for_signal.wait_for("approval", timeout_s=86_400.0)


@waits_for_signal.step(compensation=None)
def ship(approval: Any) -> dict[str, Any]:
    return {"shipped": approval}
