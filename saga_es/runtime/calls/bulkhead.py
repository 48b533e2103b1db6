"""How many calls over HTTP are in flight to each participant, and how many begin in a second: the others wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from saga_es.runtime.calls.limits import CALLS_AT_ONCE, Limit, Turn
from saga_es.runtime.calls.port import Call, Lane, Returned
from saga_es.store.host_time import monotonic_s

Entry = tuple[Call, Returned]
"""A call, and who is told its outcome."""

BURST_S = 0.05
"""The calls of so many seconds may begin together: a timer for each would cost more than the call."""


class _Door:
    """The calls to one participant.

    Attributes:
        busy: How many are in flight.
        waiting: Those that have not been let in.
        next_at: When the next would begin if all were spread evenly.
        is_waking: Whether it will be looked at again when its rate allows the next.
    """

    __slots__ = ("busy", "is_waking", "limit", "next_at", "waiting")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.busy = 0
        self.waiting: deque[Entry] = deque()
        self.next_at = 0.0
        self.is_waking = False


class Bulkhead:
    """Lets calls in, within the limit of each participant. Any thread may use it.

    Args:
        at_once: The most calls in flight to a participant without a limit of its own.
        limits: The limits of participants, by name.
        now: Seconds, by a clock that never goes back.

    Attributes:
        later: Has `wake` called for a lane, so many seconds later; who owns the bulkhead sets it.
    """

    def __init__(
        self,
        at_once: int = CALLS_AT_ONCE,
        limits: Mapping[str, Limit] | None = None,
        now: Callable[[], float] = monotonic_s,
    ) -> None:
        self._limits = limits or {}
        self._default = Limit(at_once)
        self._now = now
        self._lock = threading.Lock()
        self._inside: set[Call] = set()
        self._doors: dict[Lane, _Door] = {}
        self.later: Callable[[float, Lane], None] = lambda _delay_s, _lane: None

    @property
    def waiting(self) -> int:
        """How many calls have not been let in."""
        with self._lock:
            return sum(len(door.waiting) for door in self._doors.values())

    def turn_of(self, call: Call) -> Turn | None:
        """Why a call waits for its turn; None if none waits there."""
        with self._lock:
            door = self._doors.get(call.lane)
            if door is None or not door.waiting or call in self._inside:
                return None
            return Turn(call.lane[1], len(door.waiting), door.limit)

    def enter(self, entries: Iterable[Entry]) -> list[Entry]:
        """Take calls; returns those that may be made now. The others wait, in this order."""
        lanes: dict[Lane, None] = {}
        with self._lock:
            for entry in entries:
                lane = entry[0].lane
                door = self._doors.get(lane)
                if door is None:
                    door = self._doors[lane] = _Door(self._limits.get(lane[1], self._default))
                door.waiting.append(entry)
                lanes[lane] = None
        return [entry for lane in lanes for entry in self._let_in(lane)]

    def leave(self, call: Call) -> list[Entry]:
        """A call has ended, or was not made; returns those that may be made now."""
        lane = call.lane
        with self._lock:
            if call not in self._inside:
                return []
            self._inside.remove(call)
            door = self._doors[lane]
            door.busy -= 1
            if not door.waiting:
                return []
        return self._let_in(lane)

    def wake(self, lane: Lane) -> list[Entry]:
        """The rate of a lane allows the next calls; returns them."""
        with self._lock:
            self._doors[lane].is_waking = False
        return self._let_in(lane)

    def _let_in(self, lane: Lane) -> list[Entry]:
        let_in: list[Entry] = []
        wait_s: float | None = None
        with self._lock:
            door = self._doors[lane]
            while door.waiting:
                call = door.waiting[0][0]
                if not call.is_given_up:  # a call that was is never made, and takes nobody's turn
                    if door.busy >= door.limit.calls:
                        break
                    wait_s = self._wait_s(door)
                    if wait_s > 0:
                        break
                    self._inside.add(call)
                    door.busy += 1
                let_in.append(door.waiting.popleft())
            wakes = bool(door.waiting) and door.busy < door.limit.calls and not door.is_waking
            door.is_waking |= wakes
        if wakes:
            assert wait_s is not None, "only a rate leaves calls waiting in front of free places"
            try:
                self.later(wait_s, lane)
            except (RuntimeError, OSError):  # the system allows no more threads: the next call that comes tries again
                with self._lock:
                    door.is_waking = False
        return let_in

    def _wait_s(self, door: _Door) -> float:
        """Seconds until the next call may begin; if it may now, it is counted."""
        rate = door.limit.rate
        if rate is None:
            return 0.0
        now = self._now()
        wait_s = door.next_at - now - max(0.0, BURST_S - 1 / rate)
        if wait_s <= 0:
            door.next_at = max(door.next_at, now) + 1 / rate
        return wait_s
