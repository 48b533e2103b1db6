"""Facts: what just happened to a saga, as the shell reports it to `decide`. Events are stored; facts are not."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from saga_es.core.access import Starter
from saga_es.core.commands import Command
from saga_es.core.outcomes import Direction, Outcome
from saga_es.core.trace import Trace


class Start(msgspec.Struct, frozen=True):
    """A caller starts the saga. Without a worker the saga waits for one; with `starts_at` it waits until then."""

    plan_id: str
    input: dict[str, Any]
    worker: str | None
    tags: dict[str, str] = {}
    starts_at: datetime | None = None
    parent: str | None = None
    trace: Trace | None = None
    by: Starter | None = None
    key: str | None = None


class CallReturned(msgspec.Struct, frozen=True):
    """A call returned, or timed out."""

    step: str
    direction: Direction
    attempt: int
    outcome: Outcome


class CallProgressed(msgspec.Struct, frozen=True):
    """A call under way says that it goes on."""

    step: str
    direction: Direction
    attempt: int
    details: Any = None


class RetryDue(msgspec.Struct, frozen=True):
    """The wait after a failed attempt is over."""

    step: str
    direction: Direction
    attempt: int


class ChildEnded(msgspec.Struct, frozen=True):
    """The saga that a step runs has ended.

    Attributes:
        saga_id: The saga that has ended; the step may run another one by now.
        not_recorded: Why its results cannot be recorded here; None: they can.
    """

    step: str
    saga_id: str
    status: Literal["COMPLETED", "COMPENSATED", "FAILED"]
    result: Any = None
    error: str | None = None
    not_recorded: str | None = None


class Woken(msgspec.Struct, frozen=True):
    """A time that the saga waited for has come, or a command was recorded: the saga decides what to do next."""


class OwnerGone(msgspec.Struct, frozen=True):
    """This worker found the saga without a living owner and takes it over.

    Attributes:
        most_crashes: The saga is FAILED when this many workers crashed while the same call was in flight.
    """

    worker: str
    most_crashes: int = 5


class CodeMissing(msgspec.Struct, frozen=True):
    """This worker lacks code that the saga needs now; another worker may have it."""

    reason: str


class CannotGoOn(msgspec.Struct, frozen=True):
    """The shell cannot continue the saga: a call cannot be made anywhere, or the database refuses an outcome."""

    reason: str


Fact = (
    Start
    | CallReturned
    | CallProgressed
    | RetryDue
    | ChildEnded
    | Woken
    | OwnerGone
    | CodeMissing
    | CannotGoOn
    | Command
)
