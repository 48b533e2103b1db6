"""A worker's heartbeat, and the sagas that the worker has to read again after it counted as gone."""

from __future__ import annotations

from functools import cached_property

from saga_es.definition.code import encoded
from saga_es.runtime.ability import Ability
from saga_es.runtime.owned import OwnedSaga, OwnedSagas
from saga_es.runtime.waiting.clock import Clock
from saga_es.store.ports import Workers
from saga_es.store.process import Process

SEEN_AT_ONCE = 500
"""The most sagas that are read between two heartbeats: a worker that reads thousands at once counts as gone again."""


class Heartbeat:
    """Records that this worker is alive. Used by the loop's thread.

    Args:
        ability: What this worker can run; its code is written into the workers' table.
        process: The process that the workers' table names for this worker; this process if left out.
    """

    def __init__(
        self, workers: Workers, owned: OwnedSagas, clock: Clock, ability: Ability, process: Process | None = None
    ) -> None:
        self._workers = workers
        self._owned = owned
        self._clock = clock
        self._ability = ability
        self._named = process
        self._unseen: list[str] = []

    @cached_property
    def _process(self) -> Process:
        # Looked up at the first heartbeat: the worker may have been made before the process was forked.
        return self._named or Process.this()

    @cached_property
    def _code(self) -> str:
        return encoded(self._ability.code)

    @property
    def pause_s(self) -> float:
        """The seconds between two heartbeats: there are four in a lease."""
        return self._workers.lease_s / 4

    def beat(self, worker_id: str) -> bool:
        """Send a heartbeat. True if the worker had counted as gone, so that others may have taken its sagas over.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        self._clock.set_right()
        if not self._workers.beat(worker_id, self._process, self._code):
            return False
        self._unseen = self._owned.ids
        return bool(self._unseen)

    def unseen(self) -> list[OwnedSaga]:
        """The next sagas that others may have taken over, at most `SEEN_AT_ONCE`."""
        some, self._unseen = self._unseen[:SEEN_AT_ONCE], self._unseen[SEEN_AT_ONCE:]
        return [saga for saga_id in some if (saga := self._owned.get(saga_id)) and saga.state.version]

    @property
    def has_seen_all(self) -> bool:
        """Whether `unseen` has returned all of them."""
        return not self._unseen
