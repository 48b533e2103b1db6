"""What a step can know of its call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from saga_es.runtime.calls.port import Call


class StepContext:
    """One call of a step: a step gets it as its parameter `context`, and so does what stands around each call.

    It belongs to the call, and means nothing when the call is over.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __repr__(self) -> str:
        return f"StepContext({self.saga}, {self.step}, {self.direction}, attempt {self.attempt}, {self.saga_id})"

    @property
    def saga_id(self) -> str:
        """The id of the saga."""
        return self._call.saga_id

    @property
    def saga(self) -> str:
        """The name of the definition."""
        return self._call.definition

    @property
    def step(self) -> str:
        """The name of the step, or of its element: `book[2]`."""
        return self._call.step

    @property
    def direction(self) -> str:
        """`action`, `compensation` or `probe`."""
        return str(self._call.direction)

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._call.attempt

    @property
    def key(self) -> str:
        """The idempotency key of the call."""
        return self._call.key

    @property
    def input(self) -> Any:
        """The input of the saga, as a copy."""
        return msgspec.json.decode(msgspec.json.encode(self._call.given.get("input")))

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of the saga."""
        return dict(self._call.tags)

    @property
    def cancelled(self) -> bool:
        """Whether the call is not wanted any more: the saga has aborted, or the call's time is over.

        What the step answers still counts when the saga has aborted: what it did is compensated.
        """
        return self._call.is_cancelled or self._call.is_given_up

    def progress(self, details: Any = None) -> None:
        """Say that the call goes on: its time-out runs anew from now. Any thread may say it, and as often as it likes.

        The log gets what was said first, and after that the last word of every `RECORDED_EVERY_S` seconds. Details that
        the log cannot hold are replaced by what says so. Nothing happens if nobody waits for the call any more.

        Args:
            details: What has been done so far: JSON of at most `LARGEST_DETAILS` bytes.
        """
        if self._call.says is not None:
            self._call.says(self._call, details)
