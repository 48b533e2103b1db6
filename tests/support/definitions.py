"""Small definitions, quickly written: what the tests of definitions share."""

from __future__ import annotations

from typing import Any

from saga_es.core.plan import StepPlan
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.definition.signatures import Function
from saga_es.definition.steps import Step

DESK = Participant("desk")


def nothing() -> None:
    """A step that does nothing."""


def named(name: str, function: Function = nothing) -> Function:
    def step() -> None:
        function()

    step.__name__ = name
    return step


def add(saga: Saga, *names: str, **options: Any) -> None:
    for name in names:
        saga.step(compensation=None, **options)(named(name))


def a_step(saga: Saga, name: str = "a") -> StepPlan:
    return saga.plan.step(name)


def written(saga: Saga, name: str) -> Step:
    step = saga.written(name)
    assert step is not None
    return step


def order(saga: Saga) -> dict[str, tuple[str, ...]]:
    """What each step waits for."""
    return {step.name: saga.plan.after(step.name) for step in saga.plan.steps}


def asking(name: str, function: Function) -> Function:
    function.__name__ = name
    return function


def a_payment(kind: str = "compensatable") -> Saga:
    payment = Saga("payment")
    add(payment, "charge", kind=kind)
    return payment
