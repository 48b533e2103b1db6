"""How many calls over the network are in flight to each participant: the others wait, behind their own kind alone."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable

from saga_es.runtime.calls.port import Call, Lane, Returned

Entry = tuple[Call, Returned]
"""A call, and who is told its outcome."""


CALLS_AT_ONCE = 256
"""How many requests over the network are in flight to one participant, unless a setting says otherwise."""


class Bulkhead:
    """Lets calls in, at most so many of each lane at once. Any thread may use it.

    Args:
        at_once: The most calls of a lane.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._inside: set[Call] = set()
        self._busy: Counter[Lane] = Counter()
        self._waiting: dict[Lane, deque[Entry]] = {}

    @property
    def waiting(self) -> int:
        """How many calls have not been let in."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def enter(self, entries: Iterable[Entry]) -> list[Entry]:
        """Take calls; returns those that may be made now. The others wait, in this order."""
        let_in: list[Entry] = []
        with self._lock:
            for entry in entries:
                lane = entry[0].lane
                if self._busy[lane] < self._at_once:
                    self._let_in(entry, let_in)
                else:
                    self._waiting.setdefault(lane, deque()).append(entry)
        return let_in

    def leave(self, call: Call) -> list[Entry]:
        """A call has ended, or was not made; returns those that may be made now."""
        let_in: list[Entry] = []
        with self._lock:
            if call not in self._inside:
                return let_in
            lane = call.lane
            self._inside.remove(call)
            self._busy[lane] -= 1
            waiting = self._waiting.get(lane)
            if waiting is None:
                return let_in
            while waiting and self._busy[lane] < self._at_once:
                self._let_in(waiting.popleft(), let_in)
            if not waiting:
                del self._waiting[lane]
        return let_in

    def _let_in(self, entry: Entry, let_in: list[Entry]) -> None:
        self._inside.add(entry[0])
        self._busy[entry[0].lane] += 1
        let_in.append(entry)
