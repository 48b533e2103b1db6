"""Threads for `def` steps and HTTP calls.

Not `concurrent.futures`: its threads are joined at exit, so one hung step would keep a process from ending,
and each of its futures costs more than a short step.
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
"""Threads there may be for each that is allowed, together with those that hang in work that was given up."""

SAY_EVERY_S = 60.0
"""How often it is said again that no more threads are started."""


class _Seat:
    """What one thread works on, and whether that was given up."""

    __slots__ = ("hangs", "work")

    def __init__(self) -> None:
        self.work: Work | None = None
        self.hangs = False


class Pool:
    """At most so many daemon threads, started as they are needed. What work raises is logged.

    A thread whose work was given up is not counted until it comes back: another may be started in its place.

    To wake a thread costs more than a short step, so one alone is woken for a bunch of work. Each that takes a piece
    and leaves others wakes one more, unless one is on its way already: short pieces are done by the first before the
    second arrives, and a piece that takes its time holds up no other.
    """

    def __init__(self, threads: int) -> None:
        self._limit = threads
        self._seats: set[_Seat] = set()
        self._hanging = 0
        self._next_warning = 0.0
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

    def give_up(self, is_it: Callable[[Work], bool]) -> None:
        """Let no other work wait for this piece, if a thread has begun it and it hangs."""
        with self._lock:
            for seat in self._seats:
                if seat.work is not None and not seat.hangs and is_it(seat.work):
                    seat.hangs = True
                    self._hanging += 1
                    break
            is_short = self._counted < self._limit and len(self._seats) >= self._most
        self._have_one_come()
        if is_short and (now := time.monotonic()) >= self._next_warning:
            self._next_warning = now + SAY_EVERY_S
            with suppress(Exception):  # whatever the log raises, the loop tells who was waiting
                logger.warning(
                    "calls that were given up hang, and no more threads are started: other calls wait for these",
                    hanging=self._hanging,
                    threads=len(self._seats),
                    call_threads=self._limit,
                    waiting=len(self),
                    cure="have steps give up by themselves (a time-out for each socket), then start this process anew",
                )

    def close(self) -> None:
        """Let each thread end when all work is done; does not wait."""
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

    def _have_one_come(self) -> None:
        with self._lock:
            if self._is_one_coming or not self._queue:
                return
            if self._idle:
                self._idle -= 1
                self._is_one_coming = True
                self._wakes.put(None)
            elif self._counted < self._limit and len(self._seats) < self._most and not self._is_closed:
                self._start_one()

    def _start_one(self) -> None:
        seat, name = _Seat(), f"saga-es-call-{len(self._seats) + 1}"
        try:
            threading.Thread(target=self._run, args=(seat,), name=name, daemon=True).start()
        except RuntimeError:  # the system allows us no more: those there are do the work
            if self._seats:
                return
            raise
        self._seats.add(seat)
        self._is_one_coming = True

    def _run(self, seat: _Seat) -> None:
        while True:
            with self._lock:
                self._is_one_coming = False
            for work in self._pieces():
                seat.work = work
                try:
                    work()
                except BaseException:  # a thread that ended would be missing for ever
                    with suppress(BaseException):  # the log may be what failed
                        logger.exception("a call failed in a way that it should not")
                if seat.hangs:
                    break
            with self._lock:
                seat.work = None
                if seat.hangs:
                    seat.hangs = False
                    self._hanging -= 1
                is_replaced = self._counted > self._limit
                if self._queue and not is_replaced:  # it came after the last look, and may have relied on us
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
            if self._queue and not self._is_one_coming:
                self._have_one_come()
            yield work
