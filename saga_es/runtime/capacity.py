"""How much a worker takes on: the sagas that have a call out here, and how many more there may be.

A saga that waits (for a signal, a time, another saga, its next attempt) takes no capacity: what it waits for may need
it. When it goes on it does so at once, also where there is no capacity left; nothing new is begun then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

NO_LIMIT = 1_000_000_000


class Capacity:
    """Sagas with calls out, against the limits of this worker. Used by the loop's thread.

    Args:
        limit: How many there may be; None: any number.
        limits: How many of one definition, by name; of the others any number.
    """

    def __init__(self, limit: int | None = None, limits: Mapping[str, int] | None = None) -> None:
        self._limits = dict(limits or {})
        self._limit = limit or NO_LIMIT
        self._calls: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._busy: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()
        self._wanting: set[str | None] = set()

    # ── Calls go out and come back ───────────────────────────────────────────────────────────────────────

    def acquire(self, saga_id: str, name: str) -> None:
        """A call of a saga of this definition goes out."""
        out = self._calls.get(saga_id, 0)
        if not out:
            self._names[saga_id] = name
            self._busy[name] += 1
        self._calls[saga_id] = out + 1

    def release(self, saga_id: str) -> None:
        """A call of the saga is out no more."""
        out = self._calls.pop(saga_id) - 1
        if out:
            self._calls[saga_id] = out
        else:
            self._busy[self._names.pop(saga_id)] -= 1

    def reserve(self, name: str) -> bool:
        """Keep capacity for a saga whose first call goes out in this batch; False when there is none."""
        if not self.left_of(name):
            self._want(name)
            return False
        self._coming[name] += 1
        return True

    def end_batch(self) -> bool:
        """What was reserved is in use, or given up; True when there is capacity again for those who found none."""
        self._coming.clear()
        if any(self._is_wide_again(name) for name in self._wanting):
            self._wanting.clear()
            return True
        return False

    # ── What is left ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def left(self) -> int:
        """How many more sagas may begin."""
        return max(0, self._limit - len(self._calls) - self._coming.total())

    def left_of(self, name: str) -> int:
        """How many more of a definition may begin."""
        limit = self._limits.get(name, NO_LIMIT)
        return max(0, min(self.left, limit - self._busy[name] - self._coming[name]))

    def open_to(self, names: Collection[str]) -> list[str]:
        """Those of the definitions that there is capacity for; the others are waited for."""
        there = [name for name in names if self.left_of(name)]
        for name in names if len(there) < len(names) else ():
            if name not in there:
                self._want(name)
        return there

    def _want(self, name: str) -> None:
        self._wanting.add(name if self.left else None)

    def _is_wide_again(self, name: str | None) -> bool:
        # Not at the first place that is free: each look for more costs a query, and may bring more than one.
        limit, left = (
            (self._limit, self.left) if name is None else (self._limits.get(name, NO_LIMIT), self.left_of(name))
        )
        return left > limit // 4 or left == limit
