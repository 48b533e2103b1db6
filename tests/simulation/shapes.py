"""Sagas of every shape, whose participants keep a ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saga_es import RetryPolicy, Saga, StepContext, StepRejected
from saga_es.commands import SendSignal
from saga_es.testing import Ledger

TWICE = RetryPolicy(attempts=2, first_delay_s=0.1, jitter=0)
PATIENT = RetryPolicy(attempts=5, first_delay_s=0.1, jitter=0)


def act(ledger: Ledger, name: str) -> Callable[..., Any]:
    """A step that acts in the ledger."""

    def step(key: str) -> str:
        answer: str = ledger.act(key, f"{name}!")
        return answer

    step.__name__ = name
    return step


def undo(ledger: Ledger) -> Callable[..., Any]:
    """A compensation that undoes in the ledger."""

    def compensation(action_key: str) -> None:
        ledger.undo(action_key)

    return compensation


def add(saga: Saga, ledger: Ledger, name: str, **options: Any) -> None:
    """Add a step with its compensation."""
    saga.step(retry=TWICE, **options)(act(ledger, name))
    saga.compensates(name, retry=PATIENT)(undo(ledger))


def linear(ledger: Ledger, steps: int = 3) -> Saga:
    """One step after the other."""
    saga = Saga("linear")
    for name in "abcdefg"[:steps]:
        add(saga, ledger, name)
    return saga


def linear_of(steps: int) -> Callable[[Ledger], Saga]:
    """So many steps, one after the other."""

    def shape(ledger: Ledger) -> Saga:
        return linear(ledger, steps)

    shape.__name__ = f"linear of {steps}"
    return shape


def diamond(ledger: Ledger) -> Saga:
    """Two steps at the same time, between one before and one after."""
    saga = Saga("diamond")
    add(saga, ledger, "a")
    with saga.together():
        add(saga, ledger, "b")
        add(saga, ledger, "c")
    add(saga, ledger, "d")
    return saga


def pivot(ledger: Ledger) -> Saga:
    """A step that can be undone, the pivot, and one that must succeed."""
    saga = Saga("pivot")
    add(saga, ledger, "a")
    saga.step(retry=TWICE, kind="pivot", compensation=None)(act(ledger, "b"))
    saga.step(retry=TWICE, kind="retriable")(act(ledger, "c"))
    return saga


def probed(ledger: Ledger) -> Saga:
    """Steps that can be asked whether they have happened."""
    saga = linear(ledger)

    def probe(key: str) -> str:
        if not ledger.has(key):
            ledger.undo(key)  # so that it never will happen
            raise StepRejected("it did not happen")
        return "asked"

    saga.probes("b")(probe)
    return saga


def fanned(ledger: Ledger) -> Saga:
    """A step for each of three elements, two at a time, one of them skipped."""
    saga = Saga("fanned")
    add(saga, ledger, "a")
    add(saga, ledger, "b", over="input[items]", at_once=2, when=lambda item: item != "none")
    add(saga, ledger, "c")
    return saga


def waiting(ledger: Ledger) -> Saga:
    """A delay, and a signal, between steps."""
    saga = Saga("waiting", deadline_s=60)
    add(saga, ledger, "a")
    saga.delay("nap", 0.5)
    saga.wait_for("word", timeout_s=5)
    add(saga, ledger, "b")
    return saga


def nested(ledger: Ledger) -> Saga:
    """A saga that is a step of another, between two more."""
    child = linear(ledger, 2)
    saga = Saga("nested")
    add(saga, ledger, "x")
    saga.child("y", child)
    add(saga, ledger, "z")
    return saga


def talking(ledger: Ledger) -> Saga:
    """Steps, and compensations, that say twice that they go on: before they act, and after it."""
    saga = Saga("talking")
    for name in "ab":

        def step(key: str, context: StepContext, name: str = name) -> str:
            context.progress({"at": "first"})
            answer: str = ledger.act(key, f"{name}!")
            context.progress({"at": "last"})
            return answer

        def compensation(action_key: str, context: StepContext) -> None:
            context.progress()
            ledger.undo(action_key)

        saga.step(retry=TWICE, name=name)(step)
        saga.compensates(name, retry=PATIENT)(compensation)
    return saga


OTHERS: dict[Callable[[Ledger], Saga], dict[str, Any]] = {
    diamond: {},
    pivot: {},
    probed: {},
    fanned: {"input_": {"items": ["a", "none", "b"]}},
    waiting: {"orders": [(0.1, SendSignal("word", key="k"))]},
    nested: {},
    talking: {},
}
"""The shapes that are not linear, and what their runs are given."""
