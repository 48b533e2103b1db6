"""Facts: what just happened to a saga, as the shell tells it to `decide`. They are not stored; events are."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

# ── Outcomes: the four things a participant's answer can mean ────────────────────────────────────────────


class Completed(msgspec.Struct, frozen=True):
    """Done."""

    result: Any = None


class Rejected(msgspec.Struct, frozen=True):
    """Refused for good; nothing was done."""

    error: str


class Unavailable(msgspec.Struct, frozen=True):
    """Not now; nothing was done. The participant may have said how many seconds to wait."""

    error: str
    retry_after_s: float | None = None


class Unknown(msgspec.Struct, frozen=True):
    """It may have happened: the answer was lost, late, broken, or a server error."""

    error: str


Outcome = Completed | Rejected | Unavailable | Unknown


class Direction(StrEnum):
    """Which of a step's two calls: its action, or its compensation."""

    ACTION = "action"
    COMPENSATION = "compensation"


# ── Facts ────────────────────────────────────────────────────────────────────────────────────────────────


class Start(msgspec.Struct, frozen=True):
    """Somebody asked for the saga. Without a worker it waits for one."""

    plan_id: str
    input: dict[str, Any]
    worker: str | None


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


class OwnerGone(msgspec.Struct, frozen=True):
    """This worker found the saga without a living owner and takes it."""

    worker: str


class CannotGoOn(msgspec.Struct, frozen=True):
    """The shell cannot carry the saga on: a step's code is gone, or the database will not take an outcome."""

    reason: str


Fact = Start | CallReturned | RetryDue | OwnerGone | CannotGoOn
