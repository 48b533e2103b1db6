"""`async def` steps on an event loop of the application's: where its connections and its tasks live."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from saga_es.logs import logger
from saga_es.runtime.calls.coroutines import Coroutines
from saga_es.runtime.calls.port import Call
from saga_es.runtime.calls.watched import Perform, Watch, WatchedLoop, context_of, run


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
    """Performs calls on a loop that is not ours. It is watched, so that a call that blocks it costs others no attempt.

    Nothing is moved from it: what its program put on it belongs there. When the loop is closed while the engine runs,
    calls go on a loop of ours, and the log says so.

    Args:
        loop: The loop. It may not run yet: calls wait until it does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._given = WatchedLoop(loop)
        self._watch = Watch()
        self._ours: Coroutines | None = None

    def submit(self, calls: Sequence[Call], perform: Perform) -> None:
        """Have calls performed."""
        if not calls:
            return
        if self._ours is None:
            try:
                self._hand_over(calls, perform)
            except RuntimeError:  # it is closed
                self._replace()
            else:
                return
        assert self._ours is not None, "it replaces the loop"
        self._ours.submit(calls, perform)

    def cancel(self, call: Call) -> None:
        """End a call at its next `await`."""
        if not self._watch.cancel(call) and self._ours is not None:
            self._ours.cancel(call)

    def grace_s(self, call: Call) -> float:
        """Seconds until a call whose time is over is looked at again; 0 when it is late."""
        return self._watch.grace_s(call) if self._ours is None else self._ours.grace_s(call)

    def close(self) -> None:
        """Cancel the calls on the loop, which goes on: the next worker makes them again."""
        self._watch.close()
        with self._watch.lock:
            tasks = list(self._given.running.values())
        for task in tasks:
            with suppress(RuntimeError):
                self._given.loop.call_soon_threadsafe(task.cancel)
        if self._ours is not None:
            self._ours.close()

    def _hand_over(self, calls: Sequence[Call], perform: Perform) -> None:
        given = self._given
        with self._watch.lock:
            if not self._watch.loops:
                self._watch.add(given)
            given.waiting.update(dict.fromkeys(calls, perform))
            try:
                given.loop.call_soon_threadsafe(self._begin, calls)
            except RuntimeError:
                for call in calls:
                    del given.waiting[call]
                raise
            self._watch.wake()

    def _begin(self, calls: Sequence[Call]) -> None:
        self._given.thread_id = threading.get_ident()
        for call in calls:
            self._given.loop.create_task(run(self._watch.lock, self._given, call), context=context_of(call))

    def _replace(self) -> None:
        with self._watch.lock:
            if self._ours is not None:
                return
            self._ours = Coroutines()
        logger.warning(
            "the event loop for async steps is closed; they run on another",
            cure="close the engine before its loop, or name a loop that lives as long: open_engine(loop=...)",
        )
