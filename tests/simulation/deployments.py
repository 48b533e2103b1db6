"""What a deployment may change, and how a saga that meets it at one point of its way is judged."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from saga_es import Saga
from saga_es.testing import Ledger, World
from tests.simulation.every_way import SAGA_ID, Path, Shape, run
from tests.simulation.shapes import PATIENT, TWICE, act, add, linear, undo


def of(ledger: Ledger, steps: str, name: str = "linear") -> Saga:
    saga = Saga(name)
    for step in steps:
        add(saga, ledger, step)
    return saga


def added(ledger: Ledger) -> Saga:
    """A step more, in the middle."""
    return of(ledger, "abxc")


def removed(ledger: Ledger) -> Saga:
    """A step less."""
    return of(ledger, "ac")


def renamed(ledger: Ledger) -> Saga:
    """A step has another name."""
    return of(ledger, "axc")


def reordered(ledger: Ledger) -> Saga:
    """Another order."""
    return of(ledger, "cba")


def parameter_added(ledger: Ledger) -> Saga:
    """A step asks for the result of a new one."""
    saga = of(ledger, "ax")
    saga.step(retry=TWICE)(_asking(ledger))
    saga.compensates("b", retry=PATIENT)(undo(ledger))
    add(saga, ledger, "c")
    return saga


def _asking(ledger: Ledger) -> Callable[..., Any]:
    def b(key: str, x: str) -> str:
        answer: str = ledger.act(key, f"b after {x}!")
        return answer

    return b


def compensation_removed(ledger: Ledger) -> Saga:
    """A step has nothing to undo any more; backwards, one was added."""
    saga = of(ledger, "a")
    saga.step(retry=TWICE, compensation=None)(act(ledger, "b"))
    add(saga, ledger, "c")
    return saga


def saga_renamed(ledger: Ledger) -> Saga:
    """The saga itself has another name."""
    return of(ledger, "abc", "straight")


CHANGES = [added, removed, renamed, reordered, parameter_added, compensation_removed, saga_renamed]
WAYS = [*((linear, change) for change in CHANGES), *((change, linear) for change in CHANGES)]
"""Each change, and its way back."""


@cache
def killed(shape: Shape, taken: tuple[int, ...], point: int) -> tuple[str, str]:
    """The plan of a saga whose process dies at a point, and how it ends without a deployment."""
    world, _ = run(shape, Path(list(taken), [point]))
    row = world.store.sagas[SAGA_ID]
    return row["plan_id"], row["status"]


def deploy(old: Shape, new: Shape, taken: list[int], point: int) -> tuple[World, list[str]]:
    """One run of the old version that dies at a point, and is deployed then: forward, back, and forward again.

    Returns:
        Its world, and what was wrong: a broken promise, or another end than without the deployment.
    """
    world, wrong = run(old, Path(list(taken), [point]), deployed=new)
    row = world.store.sagas.get(SAGA_ID)
    if row is not None:
        plan_id, status = killed(old, tuple(taken), point)
        if row["plan_id"] == plan_id and row["status"] != status:  # another plan: the new version has started it
            wrong = [*wrong, f"it is {row['status']}, and {status} without a deployment"]
    name = f"{old.__name__} to {new.__name__}, options {taken}, deployed at point {point}: "
    return world, [name + fault for fault in wrong]
