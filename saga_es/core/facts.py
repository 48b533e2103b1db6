"""Facts: what just happened to a saga, as the shell tells it to `decide`. They are not stored; events are."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from saga_es.core.commands import Command
from saga_es.core.outcomes import Direction, Outcome


class Start(msgspec.Struct, frozen=True):
    """Somebody asked for the saga. Without a worker it waits for one; with `starts_at`, until then."""

    plan_id: str
    input: dict[str, Any]
    worker: str | None
    tags: dict[str, str] = {}
    starts_at: datetime | None = None
    parent: str | None = None


class CallReturned(msgspec.Struct, frozen=True):
    """A call came back, or its time ran out."""

    step: str
    direction: Direction
    attempt: int
    outcome: Outcome


class RetryDue(msgspec.Struct, frozen=True):
    """The wait after a failed attempt is over."""

    step: str
    direction: Direction
    attempt: int


class ChildEnded(msgspec.Struct, frozen=True):
    """The saga that a step runs has ended."""

    step: str
    status: Literal["COMPLETED", "COMPENSATED", "FAILED"]
    result: Any = None
    error: str | None = None


class Woken(msgspec.Struct, frozen=True):
    """A time the saga waited for has come, or somebody gave it an order: it looks what there is to do."""


class OwnerGone(msgspec.Struct, frozen=True):
    """This worker found the saga without a living owner and takes it.

    Attributes:
        most_crashes: Workers that may go while one and the same call is out; with so many the saga is FAILED.
    """

    worker: str
    most_crashes: int = 5


class CannotGoOn(msgspec.Struct, frozen=True):
    """The shell cannot carry the saga on: a step's code is gone, or the database will not take an outcome."""

    reason: str


Fact = Start | CallReturned | RetryDue | ChildEnded | Woken | OwnerGone | CannotGoOn | Command
