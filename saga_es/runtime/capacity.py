"""The capacity of a worker: how many sagas have a call in flight here, and how many more may begin.

A saga that waits (for a signal, a time, another saga, its next attempt) uses no capacity: the saga that it waits for
may need it. A waiting saga goes on at once, even if no capacity is left. New sagas begin only if there is capacity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

NO_LIMIT = 1_000_000_000


class Capacity:
    """Sagas with calls in flight, against the limits of this worker. Used by the loop's thread.

    Args:
        limit: The most sagas with a call in flight; None: any number.
        limits: The most of one definition, by its name. Other definitions have no limit of their own.
        is_bounded: Whether a new saga may be left to another worker; False where there may be none.
    """

    def __init__(
        self, limit: int | None = None, limits: Mapping[str, int] | None = None, *, is_bounded: bool = True
    ) -> None:
        self.is_bounded = is_bounded
        self._limits = dict(limits or {})
        self._limit = limit or NO_LIMIT
        self._calls: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._busy: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()
        self._reserved = 0  # for sagas of all definitions
        self._wanting: set[str | None] = set()

    # ── Calls begin and return ───────────────────────────────────────────────────────────────────────────

    def acquire(self, saga_id: str, name: str) -> None:
        """Count a call that begins.

        Args:
            saga_id: The saga that makes the call.
            name: The definition of that saga.
        """
        if saga_id in self._calls:
            self._calls[saga_id] += 1
        else:
            self._calls[saga_id] = 1
            self._names[saga_id] = name
            self._busy[name] += 1

    def release(self, saga_id: str) -> None:
        """Count a call of the saga that has returned, or was given up."""
        self._calls[saga_id] -= 1
        if not self._calls[saga_id]:
            self._busy[self._names[saga_id]] -= 1
            del self._calls[saga_id], self._names[saga_id]

    def reserve(self, name: str) -> bool:
        """Reserve capacity for a saga whose first call begins in this batch; False if there is none."""
        if not self.left_of(name):
            self._want(name)
            return False
        self._coming[name] += 1
        self._reserved += 1
        return True

    def end_batch(self) -> bool:
        """Drop the reservations: the calls of the batch have begun by now. True if sagas that waited can begin."""
        if self._coming:
            self._coming.clear()
            self._reserved = 0
        if self._wanting and any(self._is_wide_again(name) for name in self._wanting):
            self._wanting.clear()
            return True
        return False

    # ── What is left ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def left(self) -> int:
        """How many more sagas may begin."""
        return max(0, self._limit - len(self._calls) - self._reserved)

    def left_of(self, name: str) -> int:
        """How many more of a definition may begin."""
        if name not in self._limits:
            return self.left
        return max(0, min(self.left, self._limits[name] - self._busy[name] - self._coming[name]))

    def used(self, name: str | None = None) -> tuple[int, int]:
        """How many sagas, of a definition or of all, have a call in flight, and how many may. Any thread may ask."""
        if name is None:
            return len(self._calls), self._limit
        return self._busy[name], self._limits.get(name, NO_LIMIT)

    def open_to(self, names: Collection[str]) -> list[str]:
        """The definitions that have capacity. For the others, `end_batch` says when they have capacity again."""
        open_ = [name for name in names if self.left_of(name)]
        for name in names if len(open_) < len(names) else ():
            if name not in open_:
                self._want(name)
        return open_

    def _want(self, name: str) -> None:
        self._wanting.add(name if self.left else None)

    def _is_wide_again(self, name: str | None) -> bool:
        # One free place is not enough: each look for waiting sagas costs a query, and may find several.
        limit, left = (
            (self._limit, self.left) if name is None else (self._limits.get(name, NO_LIMIT), self.left_of(name))
        )
        return left > limit // 4 or left == limit
