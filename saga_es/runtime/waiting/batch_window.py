"""Whether the loop waits a moment for the answers to the calls it has just made, so that they come as one batch.

While one half of the sagas is being committed, the other half is being called, and comes back for a batch of its own:
two half batches for ever, and an iteration of the loop costs about as much for one saga as for ten. Steps that return
at once take the interpreter for that moment anyway: to wait for them costs nothing, and the halves meet. Steps that
take their time are not waited for: who waited in vain tries less and less often.
"""

from __future__ import annotations

from collections.abc import Callable

MOMENT_S = 0.001
MOMENT_OF_EACH_S = 0.000_1
"""A call of a step that returns at once takes half of that, with all that is around it."""

LONGEST_S = 0.01
MOST_LEFT_OUT = 256
"""Calls that take their time hold up the others by one moment in so many iterations."""


class BatchWindow:
    """Decides for each iteration; used by the loop's thread.

    Args:
        wait: Waits until so many items are there, but no longer than so many seconds; says whether they are.
    """

    def __init__(self, wait: Callable[[int, float], bool]) -> None:
        self._wait = wait
        self._left_out = 0
        self._leave_out_next = 1

    def wait_for_answers(self, enough: int) -> None:
        """Wait until so many items are there, if lately that took but a moment.

        Args:
            enough: With the answers to all calls that have just gone out; 0 when none did.
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
