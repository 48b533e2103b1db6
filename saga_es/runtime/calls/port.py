"""The port of the executor: what the runtime asks of whatever makes its calls, and what a call is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from saga_es.core.outcomes import Direction, Outcome
from saga_es.definition.requests import Function
from saga_es.definition.steps import Callee


class Call(msgspec.Struct):
    """One attempt at one of a step's calls.

    Attributes:
        callee: What is called; None when there is only a condition to look at.
        key: The idempotency key.
        given: What the callee and the condition may ask for, by name.
        condition: Says whether the call is wanted at all.
        child_id: What is called makes the input of a saga, which is to have this id.
        is_given_up: Nobody waits for its answer any more; all else never changes.
    """

    saga_id: str
    step: str
    direction: Direction
    attempt: int
    callee: Callee | None
    key: str
    given: Mapping[str, Any]
    timeout_s: float
    condition: Function | None = None
    child_id: str | None = None
    is_given_up: bool = False


Returned = Callable[[Call, Outcome], None]
"""Is told the outcome of a call."""


class Executor(Protocol):
    """Makes calls: each has one outcome, and is never tried again here."""

    @property
    def capacity(self) -> int:
        """How many more sagas may be taken over now; 0 until it is worth the look."""
        ...

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Start calls, in this order; `returned` is told the outcome of each once, perhaps from another thread.

        Returns:
            Those that could not be started, and why; `returned` is not told of them.
        """
        ...

    def give_up(self, call: Call) -> None:
        """Do not begin the call any more; nobody waits for it. One that is under way may still act."""
        ...

    def close(self) -> None:
        """Take no more calls; those under way are left to themselves."""
        ...
