"""Time that passes only when somebody lets it."""

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
        """There is no other."""

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self._now += timedelta(seconds=seconds)

    def wake(self) -> None:
        """Nobody sleeps."""

    def move_to(self, time: datetime) -> None:
        """Let time pass until then; the past stays the past."""
        self._now = max(self._now, time)
