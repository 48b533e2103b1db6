"""Virtual time: it passes only when it is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """A clock that stands still until it is moved; sleeping moves it."""

    def __init__(self, now: datetime = BEGINNING) -> None:
        self._now = now

    def now(self) -> datetime:
        """Aware UTC."""
        return self._now

    def set_right(self) -> None:
        """There is no other clock to follow."""

    def sleep(self, seconds: float) -> None:
        """Let this many seconds pass at once."""
        self._now += timedelta(seconds=seconds)

    def wake(self) -> None:
        """Nobody sleeps."""

    def move_to(self, time: datetime) -> None:
        """Let time pass until then; it never goes back."""
        self._now = max(self._now, time)
