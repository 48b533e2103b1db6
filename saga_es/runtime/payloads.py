"""The memory for payloads: inputs and results of sagas that wait are let go when they need more than the budget.

Such a saga is asleep. Its timers, its handles and its place among the owned sagas stay. Whatever happens to it first
waits for room; then its stream is read again, as at a takeover. A saga with a call in flight is never asleep.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from saga_es.runtime.cluster.backlog import Memory
from saga_es.runtime.inbox import CommandRequest, FactArrived, Item, StartRequest, refuse
from saga_es.runtime.owned import OwnedSaga, OwnedSagas
from saga_es.runtime.waiting.outage import Retry
from saga_es.store.ports import READ_BYTES_AT_ONCE
from saga_es.store.sagas import Sagas

AFTER_S = 1.0
"""After so many seconds without room, one saga gets some all the same: calls that hang must not stop the others."""

ROOM = 8
"""One part of so many of the budget is kept free for sagas that are taken over and fall asleep after the batch."""


class PayloadMemory:
    """Keeps the payloads of the owned sagas within a budget. Used by the loop's thread.

    Args:
        retry: Repeats an operation until the database answers.
        budget: Bytes; None: any number.
    """

    def __init__(self, owned: OwnedSagas, sagas: Sagas, retry: Retry, budget: int | None) -> None:
        self._owned = owned
        self._sagas = sagas
        self._retry = retry
        self._budget = budget
        self._waiting: deque[Item] = deque()
        self._full_since: datetime | None = None

    # ── Going to sleep ───────────────────────────────────────────────────────────────────────────────────

    def let_go(self) -> None:
        """Let sagas that wait fall asleep until the payloads, and those of the next saga to wake, fit in the budget."""
        if self._budget is None:
            return
        spare, wanted = self._budget // ROOM, self._next_size()
        if self._owned.held <= self._budget - max(spare, wanted):
            return
        enough = self._budget - max(2 * spare, wanted)
        for saga in self._owned.idle():
            self._owned.let_sleep(saga)
            if self._owned.held <= enough:
                return

    def available(self, now: datetime) -> Memory:
        """The bytes of sagas that may be taken over now. If there is no room for long, there is some for one saga."""
        if self._budget is None:
            return Memory(READ_BYTES_AT_ONCE, READ_BYTES_AT_ONCE)
        left = self._budget - self._owned.held
        spare = min(self._budget // ROOM, max(left, 1))
        if left > spare or not self._owned.held:
            return Memory(min(max(left - spare, 1), READ_BYTES_AT_ONCE), min(spare, READ_BYTES_AT_ONCE))
        return Memory(1 if self._is_overdue(now) else 0, min(spare, READ_BYTES_AT_ONCE))

    def _fits(self, size: int, now: datetime) -> bool:
        if self._budget is None or not self._owned.held or self._owned.held + size <= self._budget:
            self._full_since = None
            return True
        return self._is_overdue(now)

    def _is_overdue(self, now: datetime) -> bool:
        if self._full_since is None:
            self._full_since = now
        if now - self._full_since < timedelta(seconds=AFTER_S):
            return False
        self._full_since = now
        return True

    def _next_size(self) -> int:
        return self._size(self._waiting[0]) if self._waiting else 0

    def _size(self, item: Item) -> int:
        saga = self._sleeper(item)
        return 0 if saga is None else saga.size

    def used(self) -> tuple[int, int]:
        """The bytes of payloads in memory, and from how many on no more sagas begin. Any thread may ask."""
        return self._owned.held, (self._budget or 0) * (ROOM - 1) // ROOM + 1

    def makes_wait(self, saga_id: str) -> bool:
        """Whether a saga has something to do, and waits for room. Any thread may ask."""
        return any(getattr(item, "saga_id", None) == saga_id for item in list(self._waiting))

    # ── Waking up ────────────────────────────────────────────────────────────────────────────────────────

    def due_s(self, now: datetime) -> float | None:
        """Seconds until a saga that waits for room can be woken; None if none waits."""
        if not self._waiting:
            return None
        if self._budget is None or self._owned.held + self._next_size() <= self._budget or self._full_since is None:
            return 0.0
        return max(0.0, AFTER_S - (now - self._full_since).total_seconds())

    def awaken(self, items: list[Item], now: datetime) -> list[Item]:
        """Wake the sagas that these items concern, as far as there is room.

        Returns:
            The items that can be processed now. The others wait here, in their order.
        """
        if not self._owned.asleep and not self._waiting:
            return items
        ready: list[Item] = []
        for item in items:
            (ready if self._sleeper(item) is None else self._waiting).append(item)
        return [*self._fitting(now), *ready]

    def take_back(self) -> list[Item]:
        """Remove and return the items that wait for room."""
        items = list(self._waiting)
        self._waiting.clear()
        return items

    def abandon(self, error: Exception) -> None:
        """Fail the callers of the items that wait for room."""
        for item in self.take_back():
            refuse(item, error)

    def _sleeper(self, item: Item) -> OwnedSaga | None:
        """The saga that has to be woken for an item."""
        match item:
            case FactArrived(saga_id) | CommandRequest(saga_id) | StartRequest(saga_id):
                return self._owned.asleep.get(saga_id)
            case _:
                return None

    def _fitting(self, now: datetime) -> list[Item]:
        """Wake the sagas of the first items that wait, as far as there is room, and return these items.

        The loop turns to all else after some megabytes.
        """
        items: list[Item] = []
        woken: list[OwnedSaga] = []
        size = 0
        while self._waiting:
            saga = self._sleeper(self._waiting[0])
            if saga is not None:
                if (woken and size + saga.size > READ_BYTES_AT_ONCE) or not self._fits(saga.size, now):
                    break
                size += saga.size
                self._owned.wake(saga)
                woken.append(saga)
            items.append(self._waiting.popleft())
        if woken:
            ids = [saga.state.saga_id for saga in woken]
            found = self._retry(lambda: self._sagas.find_many(ids))
            for saga in woken:
                self._owned.load(saga, found.get(saga.state.saga_id))
        return items
