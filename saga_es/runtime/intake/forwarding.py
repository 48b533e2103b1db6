"""Command forwarding: commands for sagas that this worker does not own. Each is a read and a commit of its own.

They run on the loop's thread, so one iteration spends only `MOMENT_S` on them. Hundreds at once, on a distant database,
would outlast the worker's lease.
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
    """The commands that wait to be recorded, oldest first. Used by the loop's thread.

    Args:
        is_stopped: Whether the worker is stopping: then it no longer waits for a database that is away.
    """

    def __init__(self, commands: Commands, clock: Clock, is_stopped: Callable[[], bool]) -> None:
        self._commands = commands
        self._clock = clock
        self._is_stopped = is_stopped
        self._waiting: deque[CommandRequest] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: CommandRequest) -> None:
        """Record a command after those that wait already."""
        self._waiting.append(request)

    def run(self, ours: Container[str], put: Put) -> list[str]:
        """Record commands for `MOMENT_S` seconds, but at least one. The rest waits for the next iteration.

        Args:
            ours: The sagas that this worker owns by now. Commands for them go back into the inbox.
            put: Puts a command into the inbox.

        Returns:
            The sagas for which commands were recorded.
        """
        until = self._clock.now() + timedelta(seconds=MOMENT_S)
        recorded: list[str] = []
        while self._waiting:
            request = self._waiting.popleft()
            if request.saga_id in ours:
                put(request)
            elif self._record(request):
                recorded.append(request.saga_id)
            if self._clock.now() >= until:
                break
        return recorded

    def abandon(self, error: Exception) -> None:
        """Fail all waiting commands with an error."""
        for request in list(self._waiting):
            request.settle(error)

    def _record(self, request: CommandRequest) -> bool:
        record = partial(self._commands.record, request.saga_id, request.command)
        try:
            if isinstance(request.command, Revoke):  # its parent saga waits for it, and would wait for ever
                retry_until(record, self._clock, self._is_stopped)
            else:
                record()
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a command concerns its caller alone)
            request.settle(error)
            return False
        request.settle()
        return True
