"""The executor of a simulated worker: it sends calls into the network, and hears answers while the worker lives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from saga_es.core.outcomes import Outcome
from saga_es.runtime.calls.port import Call, Returned
from saga_es.runtime.waiting.clock import Clock
from saga_es.testing.faults import Crash, Faults
from saga_es.testing.network import Network

CAPACITY = 1000


class NetworkExecutor:
    """Makes the calls of one worker in the network.

    Args:
        network: Carries calls and answers.
        clock: The virtual time.
        faults: What goes wrong with the worker.
        is_alive: Whether the worker lives; nobody hears the answers to a dead one.
    """

    def __init__(
        self, network: Network, clock: Clock, faults: Faults, is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        self._network = network
        self._clock = clock
        self._faults = faults
        self._is_alive = is_alive

    def capacity_of(self, definition: str) -> int:
        """Always enough: in virtual time no call waits for a thread."""
        del definition
        return CAPACITY

    def is_crowded(self, definition: str) -> bool:
        """Never."""
        del definition
        return False

    def turn_of(self, call: Call) -> None:
        """No call waits for its turn."""

    def waiting_of(self, definition: str) -> tuple[int, int]:
        """Nothing waits for a thread."""
        del definition
        return 0, 1

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Send the calls on their ways, one after the other; those that were given up are not sent.

        Raises:
            Crash: The worker died before one of them was sent.
        """
        failed: list[tuple[Call, Exception]] = []
        for call in calls:
            if self._faults.crashes():
                raise Crash
            try:
                self._send(call, returned)
            except Exception as error:  # noqa: BLE001 (as the executor does)
                failed.append((call, error))
        return failed

    def left_s(self, call: Call) -> float:
        """In virtual time a call begins when it is sent."""
        if call.began_at is None:
            return call.timeout_s
        return round(call.began_at + call.timeout_s - self._now_s, 6)  # to the microsecond, as timers are

    def goes_on(self, call: Call) -> bool:
        """Its time-out runs anew; a worker that is dead hears nothing of it."""
        if call.is_given_up or not self._is_alive():
            return False
        call.began_at = self._now_s
        return True

    def cancel(self, call: Call) -> None:
        """Its context says so, if it is on its way."""
        call.is_cancelled = True

    def give_up(self, call: Call) -> bool:
        """Nobody waits for it; if it is on its way, it may arrive all the same."""
        call.is_given_up = True
        return call.began_at is not None

    def close(self) -> None:
        """Nothing is kept."""

    def _send(self, call: Call, returned: Returned) -> None:
        if not call.is_given_up:
            call.began_at = self._now_s
            self._network.send(call, partial(self._answer, call, returned))

    @property
    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    def _answer(self, call: Call, returned: Returned, outcome: Outcome) -> None:
        if self._is_alive():
            returned(call, outcome)
