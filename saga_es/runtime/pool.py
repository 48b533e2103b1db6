"""Threads for `def` steps and HTTP calls.

Not `concurrent.futures`: its threads are joined at exit, so one hung step would keep a process from ending,
and each of its futures costs more than a short step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Pool:
    """At most so many daemon threads, started as they are needed. Work must not raise."""

    def __init__(self, threads: int) -> None:
        self._limit = threads
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, work: Callable[[], None]) -> None:
        """Have the work done by some thread, in the order of submission."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"saga-es-call-{self._threads}", daemon=True).start()
        self._queue.put(work)

    def close(self) -> None:
        """Let each thread end when its work is done; does not wait."""
        for _ in range(self._limit):
            self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            with self._lock:
                self._idle += 1
