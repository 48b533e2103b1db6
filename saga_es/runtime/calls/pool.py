"""The pool of threads for `def` steps and HTTP calls.

It does not use `concurrent.futures`: the interpreter joins those threads at exit, so one hung step would keep the
process from ending, and each of those futures costs more than a short step.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue

import structlog

logger = structlog.get_logger("saga_es")

Work = Callable[[], None]

TIMES_AS_MANY = 4
"""The most threads as a multiple of the limit, including the threads that hang in work that was given up."""

WARN_EVERY_S = 60.0
"""How often the warning is repeated that no more threads are started."""


class _Seat:
    """The present work of one thread, and whether it was given up."""

    __slots__ = ("hangs", "work")

    def __init__(self) -> None:
        self.work: Work | None = None
        self.hangs = False


class Pool:
    """A limited number of daemon threads, started as they are needed. Exceptions of the work are logged.

    A thread whose work was given up is not counted until it returns: another may be started in its place.

    Waking a thread costs more than a short step, so a bunch of work wakes only one. A thread that takes a piece of work
    and leaves more wakes another thread, unless one is being woken already. So the first thread does short pieces
    before the second arrives, and a long piece delays no other.
    """

    def __init__(self, threads: int) -> None:
        self._limit = threads
        self._seats: set[_Seat] = set()
        self._hanging = 0
        self._next_warning = 0.0
        self._idle = 0
        self._is_one_waking = False
        self._is_closed = False
        self._lock = threading.Lock()
        self._queue: deque[Work] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def __len__(self) -> int:
        """How many pieces of work wait for a thread."""
        return len(self._queue)

    def submit(self, *work: Work) -> None:
        """Queue pieces of work. The threads begin them in this order."""
        self._queue.extend(work)
        self._wake_one()

    def give_up(self, is_it: Callable[[Work], bool]) -> None:
        """Stop counting the thread that hangs in this piece of work, so that another can be started.

        Args:
            is_it: Recognises the piece of work.
        """
        with self._lock:
            for seat in self._seats:
                if seat.work is not None and not seat.hangs and is_it(seat.work):
                    seat.hangs = True
                    self._hanging += 1
                    break
            is_short = self._counted < self._limit and len(self._seats) >= self._most
        self._wake_one()
        if is_short and (now := time.monotonic()) >= self._next_warning:
            self._next_warning = now + WARN_EVERY_S
            with suppress(Exception):  # an error in logging must not reach the loop
                logger.warning(
                    "calls that were given up still hang, and no more threads are started: other calls wait for them",
                    hanging=self._hanging,
                    threads=len(self._seats),
                    call_threads=self._limit,
                    waiting=len(self),
                    cure="set a time-out for each socket in the steps, then restart this process",
                )

    def close(self) -> None:
        """End each thread once all work is done. Does not wait."""
        with self._lock:
            self._is_closed = True
            for _ in self._seats:
                self._wakes.put(None)

    @property
    def _counted(self) -> int:
        return len(self._seats) - self._hanging

    @property
    def _most(self) -> int:
        return TIMES_AS_MANY * self._limit

    def _wake_one(self) -> None:
        with self._lock:
            if self._is_one_waking or not self._queue:
                return
            if self._idle:
                self._idle -= 1
                self._is_one_waking = True
                self._wakes.put(None)
            elif self._counted < self._limit and len(self._seats) < self._most and not self._is_closed:
                self._start_one()

    def _start_one(self) -> None:
        seat, name = _Seat(), f"saga-es-call-{len(self._seats) + 1}"
        try:
            threading.Thread(target=self._run, args=(seat,), name=name, daemon=True).start()
        except RuntimeError:  # the system allows no more threads: the present ones do the work
            if self._seats:
                return
            raise
        self._seats.add(seat)
        self._is_one_waking = True

    def _run(self, seat: _Seat) -> None:
        while True:
            with self._lock:
                self._is_one_waking = False
            for work in self._pieces():
                seat.work = work
                try:
                    work()
                except BaseException:  # the thread must not end: nothing would replace it
                    with suppress(BaseException):  # logging may be what failed
                        logger.exception("a call raised an error that its executor did not catch")
                if seat.hangs:
                    break
            with self._lock:
                seat.work = None
                if seat.hangs:
                    seat.hangs = False
                    self._hanging -= 1
                is_replaced = self._counted > self._limit
                if self._queue and not is_replaced:  # work that came after the last look may rely on this thread
                    continue
                if self._is_closed or is_replaced:
                    self._seats.remove(seat)
                    return
                self._idle += 1
            self._wakes.get()

    def _pieces(self) -> Iterable[Work]:
        while True:
            try:
                work = self._queue.popleft()
            except IndexError:  # another thread was faster, or nothing is left
                return
            if self._queue and not self._is_one_waking:
                self._wake_one()
            yield work
