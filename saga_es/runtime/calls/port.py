"""The port of the executor: what the runtime asks of whatever makes its calls, and what a call is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from datetime import datetime
from typing import Any, Protocol

import msgspec

from saga_es.core.outcomes import Direction, Outcome
from saga_es.core.plan import Plan, step_of
from saga_es.core.trace import Trace
from saga_es.definition.requests import Request
from saga_es.definition.signatures import Function
from saga_es.definition.steps import Callee
from saga_es.runtime.calls.limits import Turn

Lane = tuple[str, ...]
"""The calls that share a queue and a limit: those to one participant, or to one function of a definition."""


class Call(msgspec.Struct, eq=False):
    """One attempt at one of a step's calls.

    Attributes:
        callee: What is called; None when there is only a condition to look at.
        key: The idempotency key.
        given: What the callee and the condition may ask for, by name.
        condition: Says whether the call is wanted at all.
        child_id: What is called makes the input of a saga, which is to have this id.
        definition: The name of the saga's definition.
        plan: The plan of the saga; it says which names the call may be given.
        may_have_begun: Whether another worker may have made it before.
        tags: The tags of the saga.
        carried: The context variables of the code that started the saga; None when they are not carried.
        worker: The worker that makes it.
        trace: The trace that it gives on; None: it belongs to none.
        span: What whoever makes spans keeps with it.
        is_cancellable: Whether its task is cancelled when its saga aborts.
        is_cancelled: Whether its saga has aborted.
        began_at: From when its time-out runs, by the executor's clock: it began then, or said that it goes on. None: it
            waits.
        is_back: Whether it has returned.
        is_given_up: Nobody waits for its answer any more.
        is_awaited: Whether it is on an event loop, not on a thread.
        is_last: Whether no attempt follows it. It is known only while a participant is away.
        says: Is told, from any thread, what the call says of itself while it goes on.
        progress: What it said last.
        is_progress_put: Whether the loop will look at what it said last.
        recorded_at: When what it said was last recorded.
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
    definition: str = ""
    plan: Plan | None = None
    may_have_begun: bool = False
    tags: Mapping[str, str] = {}
    carried: Context | None = None
    worker: str | None = None
    trace: Trace | None = None
    span: Any = None
    is_cancellable: bool = False
    is_cancelled: bool = False
    began_at: float | None = None
    is_back: bool = False
    is_given_up: bool = False
    is_awaited: bool = False
    is_last: bool = False
    says: Callable[[Call, Any], None] | None = None
    progress: Any = None
    is_progress_put: bool = False
    recorded_at: datetime | None = None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace, for log lines."""
        return None if self.trace is None else self.trace.trace_id

    @property
    def lane(self) -> Lane:
        """The calls with which it shares a queue and a limit."""
        return lane_of(self.callee, self.definition, self.step, self.direction)


def is_taken(call: Call) -> bool:
    """Whether a call may have been taken by its participant, which tells later what it came to."""
    return isinstance(call.callee, Request) and call.callee.accepts_202 and not call.is_given_up


def lane_of(callee: Callee | None, definition: str, step: str, direction: Direction) -> Lane:
    """The lane of a call."""
    if isinstance(callee, Request):
        return ("participant", callee.participant)
    return ("definition", definition, step_of(step), direction)


Returned = Callable[[Call, Outcome], None]
"""Is told the outcome of a call."""


class Executor(Protocol):
    """Makes calls: each has one outcome, and is never tried again here."""

    def capacity_of(self, definition: str) -> int:
        """How many more sagas of a definition may be taken over now; 0 until it is worth the look."""
        ...

    def is_crowded(self, definition: str) -> bool:
        """Whether new sagas of a definition would only wait here to be called."""
        ...

    def waiting_of(self, definition: str) -> tuple[int, int]:
        """How many calls of a definition wait for a thread or are awaited, and how many threads there are."""
        ...

    def turn_of(self, call: Call) -> Turn | None:
        """Why a request waits for its turn at its participant; None if it does not."""
        ...

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Start calls, in this order; `returned` is told the outcome of each once, perhaps from another thread.

        Of a call that was given up before it began nothing is told: it was never made.

        Returns:
            Those that could not be started, and why; `returned` is not told of them.
        """
        ...

    def left_s(self, call: Call) -> float:
        """Seconds until the call is late; its whole time-out while it waits to begin, or for its answer to be read."""
        ...

    def goes_on(self, call: Call) -> bool:
        """The call says, on any thread, that it goes on: its time-out runs anew from now.

        Returns:
            Whether its answer is still waited for; otherwise nothing has changed.
        """
        ...

    def cancel(self, call: Call) -> None:
        """Tell a call under way that its saga has aborted. What it answers still counts."""
        ...

    def give_up(self, call: Call) -> bool:
        """Do not begin the call any more; nobody waits for it. One that is under way may still act.

        Returns:
            Whether it had begun.
        """
        ...

    def close(self) -> None:
        """Take no more calls; those under way are left to themselves."""
        ...
