"""Threads for `def` steps and HTTP calls.

Not `concurrent.futures`: its threads are joined at exit, so one hung step would keep a process from ending,
and each of its futures costs more than a short step.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue

Work = Callable[[], None]


class Pool:
    """At most so many daemon threads, started as they are needed. Work must not raise.

    To wake a thread costs more than a short step, so one alone is woken for a bunch of work. Each that takes a piece
    and leaves others wakes one more, unless one is on its way already: short pieces are done by the first before the
    second arrives, and a piece that takes its time holds up no other.
    """

    def __init__(self, threads: int) -> None:
        self._limit = threads
        self._threads = 0
        self._idle = 0
        self._is_one_coming = False
        self._is_closed = False
        self._lock = threading.Lock()
        self._queue: deque[Work] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def __len__(self) -> int:
        """How many pieces of work wait for a thread."""
        return len(self._queue)

    def submit(self, *work: Work) -> None:
        """Have each piece of work done by some thread, in the order of submission."""
        self._queue.extend(work)
        self._have_one_come()

    def close(self) -> None:
        """Let each thread end when all work is done; does not wait."""
        with self._lock:
            self._is_closed = True
            for _ in range(self._threads):
                self._wakes.put(None)

    def _have_one_come(self) -> None:
        with self._lock:
            if self._is_one_coming or not self._queue:
                return
            if self._idle:
                self._idle -= 1
                self._is_one_coming = True
                self._wakes.put(None)
            elif self._threads < self._limit and not self._is_closed:
                threading.Thread(target=self._run, name=f"saga-es-call-{self._threads + 1}", daemon=True).start()
                self._threads += 1
                self._is_one_coming = True

    def _run(self) -> None:
        while True:
            with self._lock:
                self._is_one_coming = False
            for work in self._pieces():
                work()
            with self._lock:
                if self._queue:  # it came after the last look, and may have relied on us
                    continue
                if self._is_closed:
                    return
                self._idle += 1
            self._wakes.get()

    def _pieces(self) -> Iterable[Work]:
        while True:
            try:
                work = self._queue.popleft()
            except IndexError:  # another thread was faster, or nothing is left
                return
            if self._queue and not self._is_one_coming:
                self._have_one_come()
            yield work
