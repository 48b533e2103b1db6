"""Facts: what just happened to a saga, as the shell tells it to `decide`. They are not stored; events are."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

# ── Outcomes: what a call can come back with ─────────────────────────────────────────────────────────────


class Completed(msgspec.Struct, frozen=True):
    """Done."""

    result: Any = None


class Rejected(msgspec.Struct, frozen=True):
    """Refused for good; nothing was done."""

    error: str


class Unavailable(msgspec.Struct, frozen=True):
    """Not now; nothing was done. The participant may have said how many seconds to wait.

    Attributes:
        kinds: What a retry policy may call the error: names of exception classes, or `HTTP 429`.
    """

    error: str
    retry_after_s: float | None = None
    kinds: tuple[str, ...] = ()


class Unknown(msgspec.Struct, frozen=True):
    """It may have happened: the answer was lost, late, broken, or a server error.

    Attributes:
        kinds: What a retry policy may call the error: names of exception classes, or `HTTP 501`.
    """

    error: str
    kinds: tuple[str, ...] = ()


class Skipped(msgspec.Struct, frozen=True):
    """The step's condition does not hold; it was not called."""


class ChildReady(msgspec.Struct, frozen=True):
    """The saga that a step runs may be started: under this id, with this input."""

    saga_id: str
    input: dict[str, Any]


Failed = Rejected | Unavailable | Unknown
Outcome = Completed | Skipped | ChildReady | Failed


class Direction(StrEnum):
    """Which of a step's calls: its action, its compensation, or the question whether the action has happened."""

    ACTION = "action"
    COMPENSATION = "compensation"
    PROBE = "probe"


# ── Facts ────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── Orders: what people, other sagas and other services may ask of a saga that exists ────────────────────


class Cancel(msgspec.Struct, frozen=True):
    """Abort: compensate what was done."""

    actor: str
    reason: str


class Pause(msgspec.Struct, frozen=True):
    """Begin nothing more until somebody resumes it."""

    actor: str
    reason: str


class Resume(msgspec.Struct, frozen=True):
    """Go on after a pause."""

    actor: str
    reason: str


class Retry(msgspec.Struct, frozen=True):
    """Try now what waits to be tried again; of a FAILED saga, what was given up."""

    actor: str
    reason: str


class Skip(msgspec.Struct, frozen=True):
    """Of a FAILED saga: take this step, or its compensation, for done."""

    step: str
    actor: str
    reason: str


class ReplaceInput(msgspec.Struct, frozen=True):
    """Of a FAILED saga: give this step another input, and try it again."""

    step: str
    input: dict[str, Any]
    actor: str
    reason: str


class Resolve(msgspec.Struct, frozen=True):
    """Of a FAILED saga: a person has set it right by hand, and this is how it ended."""

    actor: str
    reason: str
    status: Literal["COMPLETED", "COMPENSATED"] | None = None


class Give(msgspec.Struct, frozen=True):
    """Give a signal; the same key twice is one signal."""

    signal: str
    payload: Any = None
    key: str | None = None


class Revoke(msgspec.Struct, frozen=True):
    """The saga this one is a part of aborts: compensate everything, also after the end."""

    actor: str
    reason: str


Order = Cancel | Pause | Resume | Retry | Skip | ReplaceInput | Resolve | Give | Revoke
Fact = Start | CallReturned | RetryDue | ChildEnded | Woken | OwnerGone | CannotGoOn | Order
