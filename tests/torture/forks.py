"""Processes to be killed: forked from one that has imported everything, so that thousands of them fit into minutes."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from signal import SIGKILL
from typing import Any

TIMEOUT_S = 60.0
"""The longest that anything may need to come to its end, once nobody is killed any more."""

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "tests.torture.lives",
        "tests.torture.served",
        "tests.torture.migrating",
        "tests.torture.hosts",
        "tests.torture.brokered",
    ]
)


class Fork:
    """A real process with a life of its own.

    Args:
        work: What it does; a function that can be imported.
        arguments: For that function.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None, "it was started"
        return self._process.pid

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself in that time, and well; it is killed if it does not."""
        self._process.join(seconds)
        self._process.kill()
        self._process.join(TIMEOUT_S)
        assert self._process.exitcode in (0, -SIGKILL), f"it failed: {self._process.exitcode}"
        return self._process.exitcode == 0

    def kill(self) -> None:
        """End it from one moment to the next."""
        assert not self.ends_within(0.0), "it did not live until it was killed"


def pipe() -> tuple[Connection, Connection]:
    """An end to read from, and one to write to, which may be handed to a process."""
    return _CONTEXT.Pipe(duplex=False)
