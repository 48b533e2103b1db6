"""Calls that are `async def`: tasks of one event loop, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from saga_es.runtime.calls.port import Call

CLOSE_TIMEOUT_S = 2.0

Perform = Callable[[Call], Coroutine[Any, Any, None]]


class Coroutines:
    """Tasks on an event loop that is made when it is needed. `submit` and `cancel` may be used by any thread."""

    def __init__(self) -> None:
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        self._submitted = self._done = 0  # each number is written by one thread
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread

    def __len__(self) -> int:
        """How many are under way, or wait to begin."""
        return self._submitted - self._done

    def submit(self, calls: Sequence[Call], perform: Perform) -> None:
        """Have calls performed beside each other; handed over together, for each waking of the loop costs."""
        if calls:
            self._event_loop().call_soon_threadsafe(self._begin, calls, perform)
            self._submitted += len(calls)

    def cancel(self, call: Call) -> None:
        """End a call at its next `await`."""
        task = self._tasks.get(call)
        if task is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """End the loop, if it ends in time; what runs on it is left as it is."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)
            if not self._thread.is_alive():
                self._loop.close()

    def _begin(self, calls: Sequence[Call], perform: Perform) -> None:
        for call in calls:
            self._tasks[call] = task = asyncio.get_running_loop().create_task(perform(call))
            task.add_done_callback(lambda _, call=call: self._has_ended(call))  # type: ignore[misc]

    def _has_ended(self, call: Call) -> None:
        del self._tasks[call]
        self._done += 1

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="saga-es-asyncio", daemon=True)
            self._thread.start()
        return self._loop
