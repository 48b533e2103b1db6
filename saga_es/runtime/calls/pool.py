"""The pool of threads for `def` steps and HTTP calls.

It does not use `concurrent.futures`: the interpreter joins those threads at exit, so one hung step would keep the
process from ending, and each of those futures costs more than a short step.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue

from saga_es.logs import logger
from saga_es.runtime.calls.port import Lane
from saga_es.store.host_time import monotonic_s

Work = Callable[[], None]

WARN_EVERY_S = 60.0
"""How often the warning is repeated that a lane is full of work that hangs."""


class _Queue:
    """The work of one lane.

    Attributes:
        busy: The pieces in progress, including those that were given up.
        hanging: The pieces in progress that were given up.
        in_turn: Whether threads take from this queue.
    """

    __slots__ = ("busy", "hanging", "in_turn", "lane", "next_warning", "waiting")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.waiting: deque[Work] = deque()
        self.busy = self.hanging = 0
        self.in_turn = False
        self.next_warning = 0.0


class _Seat:
    """The present work of one thread, and whether it was given up."""

    __slots__ = ("hangs", "queue", "work")

    def __init__(self) -> None:
        self.queue: _Queue | None = None
        self.work: Work | None = None
        self.hangs = False


class Pool:
    """A limited number of daemon threads, started as they are needed. Exceptions of the work are logged.

    Each lane has a queue, and the threads take from the queues in turn. However long one queue is, the next piece of
    another waits for at most one piece of each.

    A thread whose work was given up is not counted until it returns: another may be started in its place. The work
    still counts for its lane, which never has more than `threads` pieces in progress. So a lane whose work hangs stops,
    and no other does.

    Waking a thread costs more than a short step, so a bunch of work wakes only one. A thread that takes a piece of work
    and leaves more wakes another thread, unless one is being woken already. So the first thread does short pieces
    before the second arrives, and a long piece delays no other.
    """

    def __init__(self, threads: int) -> None:
        self._limit = threads
        self._seats: set[_Seat] = set()
        self._hanging = 0
        self._idle = 0
        self._is_one_coming = False
        self._is_closed = False
        self._lock = threading.Lock()
        self._queues: dict[Lane, _Queue] = {}
        self._turns: deque[_Queue] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def submit(self, work: Iterable[tuple[Lane, Work]]) -> None:
        """Queue pieces of work. The threads begin those of one lane in this order."""
        with self._lock:
            for lane, piece in work:
                queue = self._queues.get(lane)
                if queue is None:
                    queue = self._queues[lane] = _Queue(lane)
                queue.waiting.append(piece)
                self._let_in(queue)
            self._have_one_come()

    def give_up(self, is_it: Callable[[Work], bool]) -> None:
        """Stop counting the thread that hangs in this piece of work, so that another can be started.

        Args:
            is_it: Recognises the piece of work.
        """
        full: _Queue | None = None
        with self._lock:
            for seat in self._seats:
                if seat.work is not None and not seat.hangs and is_it(seat.work):
                    full = self._hangs(seat)
                    break
            self._have_one_come()
        if full is not None:
            self._warn(full)

    @property
    def waiting(self) -> int:
        """How many pieces of work no thread has begun."""
        with self._lock:
            return sum(len(queue.waiting) for queue in self._queues.values())

    def close(self) -> None:
        """Let each thread end when all work is done. It does not wait for them."""
        with self._lock:
            self._is_closed = True
            for _ in self._seats:
                self._wakes.put(None)

    # ── With the lock held ───────────────────────────────────────────────────────────────────────────────

    @property
    def _counted(self) -> int:
        return len(self._seats) - self._hanging

    def _let_in(self, queue: _Queue) -> None:
        if not queue.in_turn and queue.waiting and queue.busy < self._limit:
            queue.in_turn = True
            self._turns.append(queue)

    def _hangs(self, seat: _Seat) -> _Queue | None:
        """Mark the work as hanging. Returns its queue if only such work is left in its lane, and a warning is due."""
        queue = seat.queue
        assert queue is not None, "it has work"
        seat.hangs = True
        self._hanging += 1
        queue.hanging += 1
        if queue.hanging < self._limit or (now := monotonic_s()) < queue.next_warning:
            return None
        queue.next_warning = now + WARN_EVERY_S
        return queue

    def _have_one_come(self) -> None:
        if self._is_one_coming or not self._turns:
            return
        if self._idle:
            self._idle -= 1
            self._is_one_coming = True
            self._wakes.put(None)
        elif self._counted < self._limit and not self._is_closed:
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

    def _take(self, seat: _Seat) -> bool:
        """Take the next piece of work; False when there is none."""
        if not self._turns:
            return False
        queue = self._turns.popleft()
        queue.in_turn = False
        seat.queue, seat.work = queue, queue.waiting.popleft()
        queue.busy += 1
        self._let_in(queue)
        self._have_one_come()
        return True

    def _come_back(self, seat: _Seat) -> None:
        queue = seat.queue
        assert queue is not None, "it had work"
        queue.busy -= 1
        if seat.hangs:
            seat.hangs = False
            self._hanging -= 1
            queue.hanging -= 1
        seat.queue = seat.work = None
        self._let_in(queue)

    def _leave(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        self._have_one_come()  # the lane of its work may have room again

    # ── On the threads ───────────────────────────────────────────────────────────────────────────────────

    def _run(self, seat: _Seat) -> None:
        while self._goes_on(seat):
            if seat.work is None:
                self._wakes.get()
                continue
            try:
                seat.work()
            except BaseException:  # a thread that ended would be missing for ever
                with suppress(BaseException):  # the log may be what failed
                    logger.exception("a call failed in a way that it should not")

    def _goes_on(self, seat: _Seat) -> bool:
        """Take the next piece of work, if there is one; False when the thread is to end."""
        with self._lock:
            if seat.work is None:  # it was woken
                self._is_one_coming = False
            else:
                self._come_back(seat)
            if self._counted > self._limit:  # another was started in its place
                self._leave(seat)
                return False
            if self._take(seat):
                return True
            if self._is_closed:
                self._leave(seat)
                return False
            self._idle += 1
            return True

    def _warn(self, queue: _Queue) -> None:
        kind, *names = queue.lane
        with suppress(Exception):  # an error of the log must not stop the loop
            logger.warning(
                "calls that were given up hang, and no more like them begin until some come back",
                **{kind: "/".join(names)},
                hanging=queue.hanging,
                threads=len(self._seats),
                call_threads=self._limit,
                waiting=len(queue.waiting),
                cure="have steps give up by themselves (a time-out for each socket), then start this process anew",
            )
