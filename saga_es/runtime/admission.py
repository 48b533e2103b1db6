"""Whether more sagas may begin here: within the capacity, and only where their calls would begin soon.

A saga that is not admitted is PENDING in the log, or stays there before its next step. A worker that has room takes it.
"""

from __future__ import annotations

from saga_es.runtime.calls.port import Executor
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.held_calls import HeldCalls


class Admission:
    """Admits sagas, new and interrupted ones, definition by definition. Used by the loop's thread."""

    def __init__(self, executor: Executor, held: HeldCalls, capacity: Capacity) -> None:
        self._executor = executor
        self._held = held
        self._capacity = capacity
        self._short: set[str] = set()  # definitions of which some were not admitted

    def capacity_of(self, name: str) -> int:
        """How many more sagas of a definition may be taken over now. If none, `has_capacity_again` tells when."""
        most = self._room_of(name)
        if not most:
            self._short.add(name)
        return most

    def reserve(self, name: str) -> bool:
        """Reserve capacity for a saga of this definition that begins in this batch; False if none is left."""
        if self._capacity.is_bounded and (self._executor.is_crowded(name) or not self._held.room_of(name)):
            self._short.add(name)
            return False
        return self._capacity.reserve(name)

    def has_capacity_again(self) -> bool:
        """End the batch's reservations; whether sagas that found no capacity would find some now."""
        wide_again = {name for name in self._short if self._room_of(name)}
        self._short -= wide_again
        return self._capacity.end_batch() or bool(wide_again)

    def _room_of(self, name: str) -> int:
        return min(self._executor.capacity_of(name), self._held.room_of(name))
