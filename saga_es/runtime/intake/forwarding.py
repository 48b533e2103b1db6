"""Orders for sagas that other workers run, or nobody: each is a read and a commit of its own, on the loop's thread.

So an iteration spends but a moment on them. Hundreds in one go, on a database that is far away, would outlast the
lease.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from datetime import timedelta
from functools import partial

from saga_es.core.commands import Revoke
from saga_es.runtime.inbox import CommandRequest, Put
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import retry_until

MOMENT_S = 0.2


class Forwarding:
    """Those that wait, in the order in which they came. Used by the loop's thread.

    Args:
        is_stopped: Whether the worker is to end, and asks a database that is away no more.
    """

    def __init__(self, commands: Commands, clock: Clock, is_stopped: Callable[[], bool]) -> None:
        self._commands = commands
        self._clock = clock
        self._is_stopped = is_stopped
        self._waiting: deque[CommandRequest] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ask: CommandRequest) -> None:
        """Have an order recorded once those before it are."""
        self._waiting.append(ask)

    def run(self, ours: Container[str], put: Put) -> bool:
        """Record orders, one at least, and as many as a moment is enough for; the rest is for the next iteration.

        Args:
            ours: The sagas that run here by now: what is for one of them is put back.
            put: Where to.

        Returns:
            Whether any was recorded.
        """
        until = self._clock.now() + timedelta(seconds=MOMENT_S)
        is_recorded = False
        while self._waiting:
            ask = self._waiting.popleft()
            if ask.saga_id in ours:
                put(ask)
            elif self._record(ask):
                is_recorded = True
            if self._clock.now() >= until:
                break
        return is_recorded

    def abandon(self, error: Exception) -> None:
        """Tell all who wait that they wait in vain."""
        for ask in list(self._waiting):
            ask.settle(error)

    def _record(self, ask: CommandRequest) -> bool:
        record = partial(self._commands.record, ask.saga_id, ask.command)
        try:
            if isinstance(ask.command, Revoke):  # another saga of ours waits for it, and would wait for ever
                retry_until(record, self._clock, self._is_stopped)
            else:
                record()
        except Exception as error:  # noqa: BLE001 (whatever is wrong with an order, only its giver is told)
            ask.settle(error)
            return False
        ask.settle()
        return True
