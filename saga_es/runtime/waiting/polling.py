"""How often to look for what may never come: often while something comes, and less and less often when nothing does."""

from __future__ import annotations

from saga_es.runtime.waiting.backoff import Backoff

QUICK_S = 0.1
SLOW_S = 0.6
"""Of the second in which an order from elsewhere is to be heard, this leaves the rest for reading it and for acting."""

SLOWER = 1.25
"""From the shortest wait to the longest it takes nine looks, or two and a half seconds in which nothing came."""


class PollingInterval:
    """The waits between looks."""

    def __init__(self) -> None:
        self._backoff = Backoff(QUICK_S, SLOW_S, SLOWER)

    def next_s(self, *, is_active: bool) -> float:
        """How long to wait until the next look.

        Args:
            is_active: The last look found something, or there is another reason to expect more soon.
        """
        if is_active:
            self._backoff.reset()
        return self._backoff.next_s()
