"""Whether more sagas may begin here: within the capacity, and only where their calls would begin soon.

A saga that is not admitted is PENDING in the log, or stays there before its next step. A worker that has room takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from saga_es.runtime.calls.limits import Turn
from saga_es.runtime.calls.port import Call, Executor
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.held_calls import HeldCalls

NO_MEMORY_LIMIT = (0, 1)

SHARES = 8
"""One part of so many of the memory for payloads is for each definition, whatever the others keep there."""


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


class Sizes(Protocol):
    """How many bytes the payloads of sagas keep in memory."""

    def size_of(self, saga_id: str) -> int:
        """Those of one saga."""

    def size_of_definition(self, name: str) -> int:
        """Those of all sagas of a definition."""


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
        self._size_of: Callable[[str], int] = lambda _name: 0
        self._heavy: dict[str, bool] = {}  # in this batch: the definitions that were weighed

    def bound(self, budget: int | None, sizes: Sizes, memory: Callable[[], tuple[int, int]]) -> None:
        """Begin no sagas for whose payloads there is no memory; half of it is left to calls that are not held back.

        Args:
            budget: Bytes; None: any number.
            sizes: Of the sagas that this worker owns.
            memory: See `Admission`.
        """
        if budget is not None:
            self._held.most_bytes, self._held.weigh = max(1, budget // 2), sizes.size_of
            self.memory, self._size_of = memory, sizes.size_of_definition

    def capacity_of(self, name: str) -> int:
        """How many more sagas of a definition may be taken over now. If none, `has_capacity_again` tells when."""
        most = self._room_of(name)
        if not most:
            self._short.add(name)
        return most

    def reserve(self, name: str) -> bool:
        """Reserve capacity for a saga of this definition that begins in this batch; False if none is left."""
        if self._capacity.is_bounded and (
            self._executor.is_crowded(name) or not self._held.room_of(name) or self._is_too_heavy(name)
        ):
            self._short.add(name)
            return False
        return self._capacity.reserve(name)

    def has_capacity_again(self) -> bool:
        """End the batch's reservations; whether sagas that found no capacity would find some now."""
        if self._heavy:
            self._heavy.clear()
        wide_again: set[str] = set()
        if self._short and not self._is_memory_full():
            wide_again = {name for name in self._short if self._room_of(name)}
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
        is_heavy = self._is_memory_full() and self._has_its_share(name)
        return Shortage("memory", *self.memory()) if is_heavy else None

    def queue_of(self, call: Call) -> Shortage | Turn | None:
        """Where a call waits to begin; None if it has begun. Any thread may ask."""
        if call.began_at is not None:
            return None
        if (turn := self._executor.turn_of(call)) is not None:
            return turn
        return Shortage("loop" if call.is_awaited else "calls", *self._executor.waiting_of(call.definition))

    def _is_memory_full(self) -> bool:
        used, limit = self.memory()
        return used >= limit

    def _is_too_heavy(self, name: str) -> bool:
        """Whether memory is full, and no small part of it is this definition's: no other may starve one."""
        if not self._is_memory_full():
            return False
        if name not in self._heavy:  # it looks at all sagas that are awake
            self._heavy[name] = self._has_its_share(name)
        return self._heavy[name]

    def _has_its_share(self, name: str) -> bool:
        return self._size_of(name) * SHARES >= self.memory()[1]

    def _room_of(self, name: str) -> int:
        return min(self._executor.capacity_of(name), self._held.room_of(name))
