"""The one growing wait outside the core: between attempts, and between looks for what may not have come yet."""

from __future__ import annotations


class Backoff:
    """Waits that grow by a factor, from the first to the longest.

    Args:
        first_s: Seconds of the first wait.
        longest_s: Seconds that no wait exceeds.
        factor: How many times as long each wait is as the one before it.
    """

    __slots__ = ("_factor", "_first_s", "_longest_s", "_next_s")

    def __init__(self, first_s: float, longest_s: float, factor: float = 2.0) -> None:
        self._first_s = self._next_s = first_s
        self._longest_s = longest_s
        self._factor = factor

    def next_s(self) -> float:
        """The seconds to wait now. The wait after it is longer."""
        wait_s = self._next_s
        self._next_s = min(wait_s * self._factor, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """Begin again with the first wait."""
        self._next_s = self._first_s
