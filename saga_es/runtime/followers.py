"""Handles on sagas that run elsewhere: looked up in the log until they end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from saga_es.core.state import SagaState
from saga_es.errors import NotFound
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.store.sagas import Sagas


class Followers:
    """Who waits for the end of a saga that this process does not run."""

    def __init__(self, sagas: Sagas) -> None:
        self._sagas = sagas
        self._handles: dict[str, list[Handle]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, *handles: Handle) -> None:
        """Follow from now on."""
        for handle in handles:
            self._handles[handle.saga_id].append(handle)

    def take(self, saga_id: str) -> list[Handle]:
        """The handles of a saga that is run here from now on."""
        return self._handles.pop(saga_id, [])

    def fail_all(self, error: Exception) -> None:
        """Nobody will look any more."""
        for saga_id in list(self._handles):
            self._fail(saga_id, error)

    def look(self, saga_ids: Sequence[str] | None = None) -> None:
        """Resolve the handles of sagas that have ended, or never were: of these, or of all.

        Raises:
            StoreUnavailable: The database did not answer; the handles stay.
        """
        wanted = list(self._handles) if saga_ids is None else [id_ for id_ in saga_ids if id_ in self._handles]
        found = self._sagas.find_many(wanted) if wanted else {}
        for saga_id in wanted:
            match found.get(saga_id, NotFound(saga_id)):
                case SagaState() as state:
                    self._seen(saga_id, state)
                case error:
                    self._fail(saga_id, error)

    def _seen(self, saga_id: str, state: SagaState) -> None:
        if not state.status.ended:
            for handle in self._handles[saga_id]:
                handle.mark_started()
            return
        for handle in self.take(saga_id):
            handle.mark_ended(SagaResult.of(state))

    def _fail(self, saga_id: str, error: Exception) -> None:
        for handle in self.take(saga_id):
            handle.mark_failed(error)
