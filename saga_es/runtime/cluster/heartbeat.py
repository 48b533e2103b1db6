"""A worker's heartbeat, and what it has to see again once it has counted as gone."""

from __future__ import annotations

from saga_es.runtime.owned import OwnedSaga, OwnedSagas
from saga_es.runtime.waiting.clock import Clock
from saga_es.store.ports import Workers
from saga_es.store.process import Process

SEEN_AT_ONCE = 500
"""Sagas that are read before the heart beats again: who reads thousands in one go counts as gone once more."""


class Heartbeat:
    """Says that this worker lives. Used by the loop's thread.

    Args:
        process: Where the workers' table says it runs; in this process if left out.
    """

    def __init__(self, workers: Workers, owned: OwnedSagas, clock: Clock, process: Process | None = None) -> None:
        self._workers = workers
        self._owned = owned
        self._clock = clock
        self._process = process or Process.this()
        self._unseen: list[str] = []

    @property
    def pause_s(self) -> float:
        """How long until it is to beat again: four beats a lease."""
        return self._workers.lease_s / 4

    def beat(self, worker_id: str) -> bool:
        """Beat; True when it had counted as gone, and others may have taken sagas that run here.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        self._clock.set_right()
        if not self._workers.beat(worker_id, self._process):
            return False
        self._unseen = self._owned.ids
        return bool(self._unseen)

    def unseen(self) -> list[OwnedSaga]:
        """Some of the sagas that others may have taken, and that were not asked for yet."""
        some, self._unseen = self._unseen[:SEEN_AT_ONCE], self._unseen[SEEN_AT_ONCE:]
        return [saga for saga_id in some if (saga := self._owned.get(saga_id)) and saga.state.version]

    @property
    def has_seen_all(self) -> bool:
        """Whether there are no more of them."""
        return not self._unseen
