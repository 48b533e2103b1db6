"""Whether more sagas may begin here: within the capacity, and only where their calls would begin soon.

A saga that is not admitted is PENDING in the log, or stays there before its next step. A worker that has room takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from saga_es.runtime.calls.port import Call, Executor
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.held_calls import HeldCalls

NO_MEMORY_LIMIT = (0, 1)


class Shortage(NamedTuple):
    """Of what this worker has too little to begin more sagas of a definition.

    Attributes:
        what: Sagas with a call in flight, of all or of this definition; calls that wait for a thread, or for their
            event loop; bytes of payload.
        used: How much there is.
        limit: How much there may be; for calls, the threads.
    """

    what: Literal["sagas", "definition", "calls", "loop", "memory"]
    used: int
    limit: int


class Admission:
    """Admits sagas, new and interrupted ones, definition by definition. Used by the loop's thread.

    Attributes:
        memory: Returns the bytes of payloads in memory, and from how many on no more sagas begin.
    """

    def __init__(self, executor: Executor, held: HeldCalls, capacity: Capacity) -> None:
        self._executor = executor
        self._held = held
        self._capacity = capacity
        self._short: set[str] = set()  # definitions of which some were not admitted
        self.memory: Callable[[], tuple[int, int]] = lambda: NO_MEMORY_LIMIT

    def bound(self, budget: int | None, weigh: Callable[[str], int], memory: Callable[[], tuple[int, int]]) -> None:
        """Begin no sagas for whose payloads there is no memory; half of it is left to calls that are not held back.

        Args:
            budget: Bytes; None: any number.
            weigh: Returns the bytes that a saga keeps in memory.
            memory: See `Admission`.
        """
        if budget is not None:
            self._held.most_bytes, self._held.weigh, self.memory = max(1, budget // 2), weigh, memory

    def capacity_of(self, name: str) -> int:
        """How many more sagas of a definition may be taken over now. If none, `has_capacity_again` tells when."""
        most = self._room_of(name)
        if not most:
            self._short.add(name)
        return most

    def reserve(self, name: str) -> bool:
        """Reserve capacity for a saga of this definition that begins in this batch; False if none is left."""
        if self._capacity.is_bounded and (
            self._executor.is_crowded(name) or not self._held.room_of(name) or self._is_memory_full()
        ):
            self._short.add(name)
            return False
        return self._capacity.reserve(name)

    def has_capacity_again(self) -> bool:
        """End the batch's reservations; whether sagas that found no capacity would find some now."""
        wide_again = set() if self._is_memory_full() else {name for name in self._short if self._room_of(name)}
        self._short -= wide_again
        return self._capacity.end_batch() or bool(wide_again)

    def shortage(self, name: str) -> Shortage | None:
        """Of what there is too little to begin a saga of a definition; None if of nothing. Any thread may ask."""
        used, limit = self._capacity.used()
        if used >= limit:
            return Shortage("sagas", used, limit)
        used, limit = self._capacity.used(name)
        if used >= limit:
            return Shortage("definition", used, limit)
        if self._executor.is_crowded(name):
            return Shortage("calls", *self._executor.waiting_of(name))
        return Shortage("memory", *self.memory()) if self._is_memory_full() else None

    def queue_of(self, call: Call) -> Shortage | None:
        """Where a call waits to begin; None if it has begun. Any thread may ask."""
        if call.began_at is not None:
            return None
        return Shortage("loop" if call.is_awaited else "calls", *self._executor.waiting_of(call.definition))

    def _is_memory_full(self) -> bool:
        used, limit = self.memory()
        return used >= limit

    def _room_of(self, name: str) -> int:
        return min(self._executor.capacity_of(name), self._held.room_of(name))
