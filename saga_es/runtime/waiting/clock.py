"""Clocks: the loop reads the time only from the clock that it was given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from saga_es.errors import StoreUnavailable
from saga_es.store.host_time import from_timestamp, host_now, monotonic_s


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def set_right(self) -> None:
        """Compare this clock with the one that all workers share, and correct it. Called with each heartbeat.

        Raises:
            StoreUnavailable: The shared clock could not be read. This clock goes on uncorrected.
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as `wake` is called."""
        ...

    def wake(self) -> None:
        """End all sleeps, present and future."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._awake = threading.Event()

    def now(self) -> datetime:
        """Aware UTC."""
        return host_now()

    def set_right(self) -> None:
        """Do nothing: this clock is taken to be right."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as `wake` is called."""
        self._awake.wait(seconds)

    def wake(self) -> None:
        """End all sleeps, present and future."""
        self._awake.set()


TOLERANCE_S = 0.05
"""A smaller difference is not corrected: answers take time, and clocks are read in steps."""


class SharedClock(SystemClock):
    """The database's clock, as exact as its answers are fast. All hosts agree, whatever their own clocks show.

    The log holds times (of the next attempt, of a wait's end, of a deadline), and any worker may have to keep them.
    Between two readings the monotonic clock counts, so a jump of the host's clock has no effect.

    Args:
        read_s: Reads the database's clock, in seconds since 1970.
    """

    def __init__(self, read_s: Callable[[], float]) -> None:
        super().__init__()
        self._read_s = read_s
        self._is_read = False
        self._offset_s = host_now().timestamp() - monotonic_s()

    def now(self) -> datetime:
        """Aware UTC. The first call reads the database's clock, if the database is available."""
        if not self._is_read:
            with suppress(StoreUnavailable):
                self.set_right()
        now: datetime = from_timestamp(monotonic_s() + self._offset_s, UTC)
        return now

    def set_right(self) -> None:
        """Read the database's clock. Follow it if the difference is larger than the reading's own uncertainty.

        Raises:
            StoreUnavailable: The database did not answer. The clock goes on uncorrected.
        """
        self._is_read = True
        before = monotonic_s()
        database_s = self._read_s()
        after = monotonic_s()
        offset_s = database_s - (before + after) / 2
        if abs(offset_s - self._offset_s) > (after - before) / 2 + TOLERANCE_S:
            self._offset_s = offset_s
