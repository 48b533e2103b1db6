"""The polling interval: short while looks find something, and longer and longer while they do not."""

from __future__ import annotations

from saga_es.runtime.waiting.backoff import Backoff

QUICK_S = 0.1
SLOW_S = 0.6
"""A command from another host is to take effect within a second: this leaves 0.4 s for reading it and acting on it."""

SLOWER = 1.25
"""The longest wait is reached after nine looks, or two and a half seconds, that found nothing."""


class PollingInterval:
    """The waits between looks."""

    def __init__(self) -> None:
        self._backoff = Backoff(QUICK_S, SLOW_S, SLOWER)

    def next_s(self, *, is_active: bool) -> float:
        """How long to wait until the next look.

        Args:
            is_active: Whether the last look found something, or something else makes the next one likely to.
        """
        if is_active:
            self._backoff.reset()
        return self._backoff.next_s()
