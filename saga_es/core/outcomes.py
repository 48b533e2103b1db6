"""Outcomes: what a call of a step can come back with."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


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
