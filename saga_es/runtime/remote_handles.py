"""Handles on sagas of other workers. The loop looks these sagas up in the log until they end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

from saga_es.core.state import SagaState
from saga_es.errors import NotFound, SagaArchived, UnreadableEvent
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.store.sagas import Sagas

LOOK_AT_ONCE = 500
"""The most sagas of one look; the next look takes the next ones."""


class RemoteHandles:
    """The handles that wait for the end of sagas that this worker does not own.

    Args:
        look_soon: Schedules a call of `look`. It is called whenever a handle is added.
    """

    def __init__(self, sagas: Sagas, look_soon: Callable[[], None]) -> None:
        self._sagas = sagas
        self._look_soon = look_soon
        self._handles: dict[str, list[Handle]] = defaultdict(list)
        self._versions: dict[str, int] = {}  # at which each saga was when it was read

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, *handles: Handle) -> None:
        """Resolve these handles when their sagas end."""
        for handle in handles:
            self._handles[handle.saga_id].append(handle)
            self._versions.pop(handle.saga_id, None)  # it has to hear how its saga stands
            self._look_soon()

    def take(self, saga_id: str) -> list[Handle]:
        """Remove the handles of a saga and return them: this worker owns the saga from now on."""
        self._versions.pop(saga_id, None)
        return self._handles.pop(saga_id, [])

    def fail_all(self, error: Exception) -> None:
        """Fail all handles: there will be no more looks."""
        for saga_id in list(self._handles):
            for handle in self.take(saga_id):
                handle.mark_failed(error)

    def look(self, saga_ids: Sequence[str] | None = None) -> None:
        """Resolve the handles of sagas that have ended, and fail those of sagas that do not exist.

        A saga whose version has not changed is not read again: thousands may wait for a worker, with large inputs.

        Args:
            saga_ids: The sagas to look at; None: the next `LOOK_AT_ONCE` of all.

        Raises:
            StoreUnavailable: The database did not answer; the handles stay.
        """
        following = self.next_ids() if saga_ids is None else saga_ids
        wanted = [saga_id for saga_id in following if saga_id in self._handles]
        moved = self._moved(wanted)
        found = self._sagas.find_many(moved) if moved else {}
        for saga_id in moved:
            state = found.get(saga_id) or self._sagas.absent(saga_id)
            for handle in self.take(saga_id):
                self._resolve(handle, state)
            if isinstance(state, SagaState) and saga_id in self._handles:
                self._versions[saga_id] = state.version

    def _moved(self, saga_ids: Sequence[str]) -> list[str]:
        """Those of these sagas that have to be read; the others go behind all that wait."""
        known = {saga_id: self._versions[saga_id] for saga_id in saga_ids if saga_id in self._versions}
        moved = set(self._sagas.moved(known) if known else ())
        for saga_id in known:
            if saga_id not in moved:
                self._handles[saga_id] = self._handles.pop(saga_id)
        return [saga_id for saga_id in saga_ids if saga_id not in known or saga_id in moved]

    def next_ids(self) -> list[str]:
        """The sagas of the next look, at most `LOOK_AT_ONCE`."""
        return list(islice(self._handles, LOOK_AT_ONCE))

    def _resolve(self, handle: Handle, found: SagaState | UnreadableEvent | NotFound | SagaArchived) -> None:
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
