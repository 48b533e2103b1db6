"""Handles on sagas that run elsewhere: looked up in the log until they end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

from saga_es.core.state import SagaState
from saga_es.errors import NotFound, SagaArchived, UnreadableEvent
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.store.sagas import Sagas

LOOK_AT_ONCE = 500
"""Sagas looked at together; of more, the next look takes the next."""


class RemoteHandles:
    """Who waits for the end of a saga that this process does not run.

    Args:
        look_soon: Has `look` called within a moment; called whenever there is one more to look for.
    """

    def __init__(self, sagas: Sagas, look_soon: Callable[[], None]) -> None:
        self._sagas = sagas
        self._look_soon = look_soon
        self._handles: dict[str, list[Handle]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, *handles: Handle) -> None:
        """Follow from now on."""
        for handle in handles:
            self._handles[handle.saga_id].append(handle)
            self._look_soon()

    def take(self, saga_id: str) -> list[Handle]:
        """The handles of a saga that is run here from now on."""
        return self._handles.pop(saga_id, [])

    def fail_all(self, error: Exception) -> None:
        """Nobody will look any more."""
        for saga_id in list(self._handles):
            for handle in self.take(saga_id):
                handle.mark_failed(error)

    def look(self, saga_ids: Sequence[str] | None = None) -> None:
        """Resolve the handles of sagas that have ended, or never were: of these, or of all in turn.

        Raises:
            StoreUnavailable: The database did not answer; the handles stay.
        """
        following = list(islice(self._handles, LOOK_AT_ONCE)) if saga_ids is None else saga_ids
        wanted = [saga_id for saga_id in following if saga_id in self._handles]
        found = self._sagas.find_many(wanted) if wanted else {}
        for saga_id in wanted:
            what = found.get(saga_id) or self._sagas.absent(saga_id)
            for handle in self.take(saga_id):
                self._tell(handle, what)

    def _tell(self, handle: Handle, found: SagaState | UnreadableEvent | NotFound | SagaArchived) -> None:
        match found:
            case SagaState(status=status) as state if status.ended:
                handle.mark_ended(SagaResult.from_state(state))
            case SagaState():
                handle.mark_started()
                self.add(handle)
            case NotFound() if handle.lookups > 0:
                handle.lookups -= 1
                self.add(handle)
            case NotFound() | SagaArchived() | UnreadableEvent() as error:
                handle.mark_failed(error)
