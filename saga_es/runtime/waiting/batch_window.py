"""The batch window: the loop may wait a moment for the answers to its calls, so that they form one batch.

Without it, one half of the sagas is committed while the other half is called and returns for a batch of its own: two
half batches for ever. But an iteration of the loop costs about as much for one saga as for ten. Fast steps use the
interpreter during that moment anyway, so the wait costs nothing and the halves become one batch. Slow steps are not
worth the wait: after a wait in vain, the loop leaves out more and more iterations before it waits again.
"""

from __future__ import annotations

from collections.abc import Callable

MOMENT_S = 0.001
MOMENT_OF_EACH_S = 0.000_1
"""Twice the time of one call to a step that returns at once, with everything around it."""

LONGEST_S = 0.01
MOST_LEFT_OUT = 256
"""The most iterations without a wait: slow calls delay the others by one moment in so many iterations."""


class BatchWindow:
    """Decides after each iteration whether to wait. Used by the loop's thread.

    Args:
        wait: Waits until so many items are in the inbox, for at most so many seconds; returns whether they are.
    """

    def __init__(self, wait: Callable[[int, float], bool]) -> None:
        self._wait = wait
        self._left_out = 0
        self._leave_out_next = 1

    def wait_for_answers(self, enough: int) -> None:
        """Wait until `enough` items are in the inbox, unless the last waits were in vain.

        Args:
            enough: How many items there will be once all calls of the batch have returned; 0 if it made no calls.
        """
        if not enough:
            return
        if self._left_out:
            self._left_out -= 1
        elif self._wait(enough, min(LONGEST_S, MOMENT_S + MOMENT_OF_EACH_S * enough)):
            self._leave_out_next = 1
        else:
            self._left_out = self._leave_out_next
            self._leave_out_next = min(MOST_LEFT_OUT, 2 * self._leave_out_next)
