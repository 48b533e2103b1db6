"""An application in eight versions, each with one change more than the one before; `DEPLOYED` says which this is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from saga_es import App, RetryPolicy, Saga, StepRejected

DEPLOYED = "DEPLOYED"

CHANGES = (
    "nothing",
    "a step added",
    "a step removed",
    "a step renamed",
    "steps in another order",
    "a parameter added, of a step that is new",
    "a compensation added",
    "the saga renamed",
)
"""What each version changes."""

TWICE = RetryPolicy(attempts=2, first_delay_s=0.05)
"""A call that is interrupted is made again, and costs no attempt: whatever costs one here is an error."""


def version(number: int) -> Saga:
    """The saga of a version."""
    saga = Saga("purchase" if number >= 7 else "order")
    first, second = ("pay", "reserve") if number >= 4 else ("reserve", "pay")
    _add(saga, first)
    saga.wait_for("go", timeout_s=None)
    _add(saga, second)
    if number >= 1:
        _add(saga, "audit", with_undoing=number >= 6)
    if number < 2:
        _add(saga, "pack", with_undoing=False)
    if number >= 5:
        _add(saga, "rate", with_undoing=False)
    last = _delivery_at_a_rate if number >= 5 else _delivery
    last.__name__ = "deliver" if number >= 3 else "ship"
    saga.step(compensation=None, retry=TWICE)(last)
    return saga


def _add(saga: Saga, name: str, *, with_undoing: bool = True) -> None:
    if not with_undoing:
        saga.step(compensation=None, retry=TWICE)(_named(name))
        return
    saga.step(retry=TWICE)(_named(name))
    saga.compensates(name, retry=TWICE)(_named(f"undo_{name}"))


def _named(name: str) -> Callable[[], str]:
    def act() -> str:
        time.sleep(0.02)  # a call that a kill can meet
        return name

    act.__name__ = name
    return act


def _delivery(input: dict[str, Any]) -> None:  # noqa: A002 (the name a step asks for)
    time.sleep(0.02)
    if input["refused"]:
        raise StepRejected("nobody is at home")


def _delivery_at_a_rate(input: dict[str, Any], rate: str) -> None:  # noqa: A002 (the name a step asks for)
    assert rate == "rate"
    _delivery(input)


app = App(name="shop", version=os.environ.get(DEPLOYED, "0"), sagas=[version(int(os.environ.get(DEPLOYED, "0")))])
