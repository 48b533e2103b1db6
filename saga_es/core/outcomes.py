"""Outcomes: the ways in which a call of a step can end."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

NOT_RECORDED = "not_recorded"
"""The key of the reason, in what takes the place of a result that cannot be recorded."""


class Completed(msgspec.Struct, frozen=True):
    """The call succeeded."""

    result: Any = None


class Rejected(msgspec.Struct, frozen=True):
    """The participant refused for good; nothing was done."""

    error: str


class Unavailable(msgspec.Struct, frozen=True):
    """The participant cannot act now; nothing was done.

    Attributes:
        retry_after_s: Seconds that the participant asked us to wait, if it said so.
        kinds: Names of the error for a retry policy: exception classes, or `HTTP 429`.
    """

    error: str
    retry_after_s: float | None = None
    kinds: tuple[str, ...] = ()


class Unknown(msgspec.Struct, frozen=True):
    """The action may have happened: the answer was lost, late, broken, or a server error.

    Attributes:
        kinds: Names of the error for a retry policy: exception classes, or `HTTP 501`.
        retry_after_s: Seconds that the participant asked us to wait, if it said so.
        frame: Where the application's code raised an exception: `shop.py:31 in charge`.
    """

    error: str
    kinds: tuple[str, ...] = ()
    retry_after_s: float | None = None
    frame: str | None = None


class Unrecordable(msgspec.Struct, frozen=True):
    """The call succeeded, and its result cannot be recorded: what to tell of it instead. It is not called again."""

    error: str


class Skipped(msgspec.Struct, frozen=True):
    """The step's condition does not hold; no call was made."""


class ChildReady(msgspec.Struct, frozen=True):
    """The child saga of a step can be started, under this id and with this input."""

    saga_id: str
    input: dict[str, Any]


Failed = Rejected | Unavailable | Unknown | Unrecordable
Outcome = Completed | Skipped | ChildReady | Failed


class Direction(StrEnum):
    """Which of a step's calls: the action, the compensation, or the probe that asks whether the action has happened."""

    ACTION = "action"
    COMPENSATION = "compensation"
    PROBE = "probe"
