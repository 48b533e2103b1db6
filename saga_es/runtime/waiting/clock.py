"""The time, as the one thing the loop may not look up by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from saga_es.errors import StoreUnavailable


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def set_right(self) -> None:
        """Compare with the clock that all workers share, if there is one; done now and then.

        Raises:
            StoreUnavailable: It did not answer; the time goes on as it was.
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or as soon as `wake` is called."""
        ...

    def wake(self) -> None:
        """End all sleep, now and later."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._awake = threading.Event()

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def set_right(self) -> None:
        """It is taken for right."""

    def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or as soon as `wake` is called."""
        self._awake.wait(seconds)

    def wake(self) -> None:
        """End all sleep, now and later."""
        self._awake.set()


TOLERANCE_S = 0.05
"""Differences that are not worth a leap: answers travel, and clocks are read in steps."""


class SharedClock(SystemClock):
    """The clock of the database, as near as its answers come: the same on all hosts, whatever their own clocks say.

    Times stand in the log (when to try again, until when to wait, a deadline), and any worker may have to keep them.
    Between two answers the time is counted by the monotonic clock, so that it never leaps with the host's.

    Args:
        ask: Says what the time is there, in seconds since 1970.
    """

    def __init__(self, ask: Callable[[], float]) -> None:
        super().__init__()
        self._ask = ask
        self._is_asked = False
        self._offset_s = datetime.now(UTC).timestamp() - time.monotonic()

    def now(self) -> datetime:
        """Aware UTC; the database is asked at the first time, if it is there."""
        if not self._is_asked:
            with suppress(StoreUnavailable):
                self.set_right()
        return datetime.fromtimestamp(time.monotonic() + self._offset_s, UTC)

    def set_right(self) -> None:
        """Ask the database, and follow it where we are off by more than the answer may have taken.

        Raises:
            StoreUnavailable: It did not answer; the time goes on as it was.
        """
        self._is_asked = True
        asked = time.monotonic()
        there_s = self._ask()
        answered = time.monotonic()
        offset_s = there_s - (asked + answered) / 2
        if abs(offset_s - self._offset_s) > (answered - asked) / 2 + TOLERANCE_S:
            self._offset_s = offset_s
