"""The time, as the one thing the loop may not look up by itself."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now(self) -> datetime:
        """Aware UTC."""
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

    def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or as soon as `wake` is called."""
        self._awake.wait(seconds)

    def wake(self) -> None:
        """End all sleep, now and later."""
        self._awake.set()
