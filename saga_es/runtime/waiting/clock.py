"""Clocks: the loop reads the time only from the clock that it was given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.store.host_time import elapsed_s, from_timestamp, host_now

TOLERANCE_S = 0.05
"""A smaller difference is not corrected: answers take time, and clocks are read in steps."""

FOLLOWS_AT = 0.1
"""How fast this worker's time follows another clock: a tenth of the time that passes. So in a minute of a saga, six
seconds too many or too few pass at most, however far and often a clock jumps."""

JUMP_S = 1.0
"""A difference that is worth a line in the log."""


class _Course(NamedTuple):
    """How the time is made of the seconds that have elapsed.

    Attributes:
        begun_s: The elapsed seconds at which this course began.
        offset_s: What was added to them then.
        ahead_s: How far ahead the other clock was then; negative: behind.
    """

    begun_s: float
    offset_s: float
    ahead_s: float = 0.0

    def at(self, passed_s: float) -> float:
        """What is added to the elapsed seconds now."""
        if not self.ahead_s:
            return self.offset_s
        most = FOLLOWS_AT * (passed_s - self.begun_s)
        return self.offset_s + max(-most, min(most, self.ahead_s))


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


class SharedClock:
    """The clock that all workers share: it does not jump, whatever the clock does from which it is read.

    The log holds times (of the next attempt, of a wait's end, of a deadline), and any worker may have to keep them.
    Between two readings the elapsed seconds count, those of a suspended machine included. A clock that has jumped since
    the first reading is followed slowly, so no wait ends much sooner or later than it should.

    Args:
        read_s: Reads the other clock, in seconds since 1970.
    """

    def __init__(self, read_s: Callable[[], float]) -> None:
        self._awake = threading.Event()
        self._read_s = read_s
        self._was_asked = self._is_set = self._has_jumped = False
        passed_s = elapsed_s()
        self._course = _Course(passed_s, host_now().timestamp() - passed_s)

    def now(self) -> datetime:
        """Aware UTC. The first call reads the other clock, if it can be read."""
        if not self._was_asked:
            with suppress(StoreUnavailable):
                self.set_right()
        passed_s = elapsed_s()
        now: datetime = from_timestamp(passed_s + self._course.at(passed_s), UTC)
        return now

    def set_right(self) -> None:
        """Read the other clock. Follow it if the difference is larger than the reading's own uncertainty.

        Raises:
            StoreUnavailable: The other clock did not answer. This clock goes on as it is.
        """
        self._was_asked = True
        before = elapsed_s()
        other_s = self._read_s()
        after = elapsed_s()
        offset_s = other_s - (before + after) / 2
        if not self._is_set:
            self._is_set, self._course = True, _Course(after, offset_s)
            return
        present_s = self._course.at(after)
        ahead_s = offset_s - present_s
        is_off = abs(ahead_s) > (after - before) / 2 + TOLERANCE_S
        self._course = _Course(after, present_s, ahead_s if is_off else 0.0)
        self._tell(ahead_s, has_jumped=abs(ahead_s) > (after - before) / 2 + JUMP_S)

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as `wake` is called."""
        self._awake.wait(seconds)

    def wake(self) -> None:
        """End all sleeps, present and future."""
        self._awake.set()

    def _tell(self, ahead_s: float, *, has_jumped: bool) -> None:
        """Say once for each jump that the other clock has jumped."""
        if has_jumped and not self._has_jumped:
            logger.warning(
                "the clock that the workers share has jumped; their time follows it slowly",
                ahead_s=round(ahead_s, 1),
                follows_in_s=round(abs(ahead_s) / FOLLOWS_AT),
                cure="if that clock is right now, and starts at a given time must be kept, restart the workers",
            )
        self._has_jumped = has_jumped


class SystemClock(SharedClock):
    """The machine's clock."""

    def __init__(self) -> None:
        super().__init__(lambda: host_now().timestamp())
