"""How much is under way for each definition: what cannot be called soon waits better where it is, in the log."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from saga_es.store.host_time import monotonic_s

WAITING_FOR_A_THREAD = 8
"""Calls of a definition for each thread that may wait for it when sagas are taken over."""

MOST_AWAITED = 1000
"""`async def` calls of a definition under way when sagas are taken over."""

CROWDED_AFTER_S = 0.5
"""For how long more calls of a definition must have waited before new sagas of it wait too: a burst of quick ones is
done by then, and to have it claimed from the log would cost more than its steps."""


class Backlog:
    """Counts, by definition, the calls that wait for a thread and the coroutines that have not come back.

    Safe to use from any thread.

    Args:
        threads: How many there are.
        now: Seconds, by a clock that never goes back.
    """

    def __init__(self, threads: int, now: Callable[[], float] = monotonic_s) -> None:
        self._most_waiting = WAITING_FOR_A_THREAD * threads
        self._now = now
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._awaited: Counter[str] = Counter()
        self._crowded_since: dict[str, float] = {}

    def add(self, waiting: Iterable[str], awaited: Iterable[str]) -> None:
        """Calls of these definitions wait for a thread, or for their loop."""
        with self._lock:
            for counts, names in ((self._waiting, waiting), (self._awaited, awaited)):
                for name in names:
                    counts[name] += 1
                    if self._waiting[name] > self._most_waiting or self._awaited[name] > MOST_AWAITED:
                        self._crowded_since.setdefault(name, self._now())

    def has_begun(self, name: str) -> None:
        """One of those that waited for a thread waits no more."""
        with self._lock:
            self._waiting[name] -= 1
            self._look(name)

    def is_back(self, name: str) -> None:
        """One of the coroutines has ended."""
        with self._lock:
            self._awaited[name] -= 1
            self._look(name)

    def capacity_of(self, name: str) -> int:
        """How many more sagas of a definition may be taken over now; 0 until it is worth the look."""
        waiting, awaited = self._waiting[name], self._awaited[name]
        if 2 * waiting > self._most_waiting or 2 * awaited > MOST_AWAITED:
            return 0
        return min(self._most_waiting - waiting, MOST_AWAITED - awaited)

    def waiting_of(self, name: str) -> int:
        """How many calls of a definition wait for a thread, or have not come back from an event loop."""
        return self._waiting[name] + self._awaited[name]

    def is_crowded(self, name: str) -> bool:
        """Whether new sagas of a definition would only wait longer here."""
        since = self._crowded_since.get(name)
        return since is not None and self._now() - since >= CROWDED_AFTER_S

    def _look(self, name: str) -> None:
        if name in self._crowded_since and self.capacity_of(name):
            del self._crowded_since[name]
