"""Timers: items that are due later, in a heap, with one timer for each key."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_STALE = 1000
"""Cancelled timers that may stay in the heap, however few others there are."""


class Timers(Generic[T]):
    """Items with a due time. Setting a key again replaces its timer. Used by one thread."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Hashable]] = []
        self._items: dict[Hashable, tuple[int, T]] = {}
        self._serial = 0
        self._stale = 0  # entries of the heap whose timer was cancelled or set again, at most

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def set(self, key: Hashable, due: datetime, item: T) -> None:
        """Set the key's timer, in place of the one that it had."""
        self._serial = serial = self._serial + 1
        if key in self._items:
            self._stale += 1
        self._items[key] = serial, item
        heapq.heappush(self._heap, (due, serial, key))
        if self._stale > MOST_STALE and 2 * self._stale > len(self._heap):
            self._compact()

    def get(self, key: Hashable) -> T | None:
        """The item that the key stands for, if its time has not come."""
        item = self._items.get(key)
        return None if item is None else item[1]

    def items(self) -> list[T]:
        """All items whose time has not come, in no order."""
        return [item for _, item in self._items.values()]

    def cancel(self, key: Hashable) -> T | None:
        """Remove the key's timer and return its item; None if there is no timer."""
        if key not in self._items:
            return None
        self._stale += 1
        item = self._items[key][1]
        del self._items[key]
        return item

    def due(self, now: datetime, most: int | None = None) -> list[T]:
        """Take the items that are due at `now` or before, in the order of their times; at most `most` (None: all)."""
        taken: list[T] = []
        heap, items = self._heap, self._items
        while heap and heap[0][0] <= now and len(taken) != most:
            _, serial, key = heapq.heappop(heap)
            if key in items and items[key][0] == serial:
                taken.append(items.pop(key)[1])
            elif self._stale:
                self._stale -= 1
        return taken

    def next_due(self) -> datetime | None:
        """When the next item is due; None if there is none."""
        while self._heap and not self._is_live(*self._heap[0][1:]):
            heapq.heappop(self._heap)
            self._stale -= 1
        return self._heap[0][0] if self._heap else None

    def _is_live(self, serial: int, key: Hashable) -> bool:
        item = self._items.get(key)
        return item is not None and item[0] == serial

    def _compact(self) -> None:
        # Most calls answer long before their time-out: cancelled timers would pile up in the heap.
        items = self._items
        self._heap = [entry for entry in self._heap if entry[2] in items and items[entry[2]][0] == entry[1]]
        heapq.heapify(self._heap)
        self._stale = 0
