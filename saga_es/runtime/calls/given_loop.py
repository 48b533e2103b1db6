"""`async def` steps on an event loop of the application's: where its connections and its tasks live."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from saga_es.logs import logger
from saga_es.runtime.calls.coroutines import Coroutines, Perform, context_of
from saga_es.runtime.calls.port import Call


class Loops(Protocol):
    """Where coroutines are performed; see `Coroutines`."""

    def submit(self, calls: Sequence[Call], perform: Perform) -> None:
        """Have calls performed."""
        ...

    def cancel(self, call: Call) -> None:
        """End a call at its next `await`."""
        ...

    def grace_s(self, call: Call) -> float:
        """Seconds until a call whose time is over is looked at again; 0 when it is late."""
        ...

    def close(self) -> None:
        """Perform no more calls."""
        ...


class GivenLoop:
    """Performs calls on a loop that is not ours: nothing on it is watched, moved or counted when it is blocked.

    When the loop is closed while the engine runs, calls go on a loop of ours, and the log says so.

    Args:
        loop: The loop. It may not run yet: calls wait until it does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        self._ours: Coroutines | None = None

    def submit(self, calls: Sequence[Call], perform: Perform) -> None:
        """Have calls performed."""
        if not calls:
            return
        if self._ours is None:
            try:
                self._loop.call_soon_threadsafe(self._begin, calls, perform)
            except RuntimeError:  # it is closed
                self._replace()
            else:
                return
        assert self._ours is not None, "it replaces the loop"
        self._ours.submit(calls, perform)

    def cancel(self, call: Call) -> None:
        """End a call at its next `await`."""
        with self._lock:
            task = self._tasks.get(call)
        if task is not None:
            with suppress(RuntimeError):  # the loop is closed: nothing on it runs
                self._loop.call_soon_threadsafe(task.cancel)
        elif self._ours is not None:
            self._ours.cancel(call)

    def grace_s(self, call: Call) -> float:
        """Nothing: a call is late by the clock."""
        return 0.0 if self._ours is None else self._ours.grace_s(call)

    def close(self) -> None:
        """Cancel the calls on the loop, which goes on: the next worker makes them again."""
        with self._lock:
            tasks = list(self._tasks.values())
        for task in tasks:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(task.cancel)
        if self._ours is not None:
            self._ours.close()

    def _begin(self, calls: Sequence[Call], perform: Perform) -> None:
        for call in calls:
            task = self._loop.create_task(perform(call), context=context_of(call))
            with self._lock:
                self._tasks[call] = task
            task.add_done_callback(lambda _task, call=call: self._end(call))  # type: ignore[misc]

    def _end(self, call: Call) -> None:
        with self._lock:
            self._tasks.pop(call, None)

    def _replace(self) -> None:
        with self._lock:
            if self._ours is not None:
                return
            self._ours = Coroutines()
        logger.warning(
            "the event loop for async steps is closed; they run on another",
            cure="close the engine before its loop, or name a loop that lives as long: open_engine(loop=...)",
        )
