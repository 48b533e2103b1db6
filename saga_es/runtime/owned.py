"""The sagas this loop owns, those it only follows, and who waits for the end of either."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from saga_es.core import events as e
from saga_es.core.facts import Woken
from saga_es.core.state import SagaState, is_same_start
from saga_es.errors import SagaExists, StoreUnavailable, UnreadableEvent
from saga_es.runtime.dispatch import Dispatch, cannot_call
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.ids import new_id
from saga_es.runtime.inbox import FactArrived, Put, StartRequest
from saga_es.runtime.remote_handles import RemoteHandles
from saga_es.runtime.waiting.outage import OutageWarning

logger = structlog.get_logger("saga_es")


class OwnedSaga:
    """A saga this engine owns: its state as of the last commit, and who waits for its end."""

    __slots__ = ("handles", "state")

    def __init__(self, state: SagaState, handles: Iterable[Handle] = ()) -> None:
        self.state = state
        self.handles = list(handles)


class OwnedSagas:
    """Sagas by their ids, as of their last commit. Used by the loop's thread."""

    def __init__(self, dispatch: Dispatch, remote: RemoteHandles, put: Put, warn: OutageWarning) -> None:
        self._dispatch = dispatch
        self._remote = remote
        self._put = put
        self._warn = warn
        self._by_id: dict[str, OwnedSaga] = {}
        self.worker_id = f"worker-{new_id()}"

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, saga_id: object) -> bool:
        return saga_id in self._by_id

    def get(self, saga_id: str) -> OwnedSaga | None:
        """The saga, if it is run here."""
        return self._by_id.get(saga_id)

    def version(self, saga_id: str) -> int:
        """The version that is known here; 0 of a saga that is not run here."""
        state = self.state(saga_id)
        return state.version if state else 0

    def state(self, saga_id: str) -> SagaState | None:
        """The saga's state as far as is known here, if it is run here."""
        saga = self._by_id.get(saga_id)
        return None if saga is None else saga.state

    @property
    def ids(self) -> list[str]:
        """All of them."""
        return list(self._by_id)

    def add(self, state: SagaState, handle: Handle | None = None) -> OwnedSaga:
        """Run a saga from this state on; those who followed it from afar wait here now."""
        here = self._by_id.get(state.saga_id)
        if here is not None:  # it was taken from us while we slept, and we have not noticed yet
            self._drop(here)
        handles = [handle] if handle else self._remote.take(state.saga_id)
        saga = self._by_id[state.saga_id] = OwnedSaga(state, handles)
        return saga

    def join(self, saga: OwnedSaga, state: SagaState, begin: StartRequest) -> None:
        """Have one who asked for a saga that was started before wait for that one, if it is the same."""
        if is_same_start(state, begin.definition.name, begin.input):
            self._attach(saga, begin.handle)
        else:
            begin.handle.mark_failed(SagaExists(begin.saga_id))

    @property
    def follows_remote(self) -> bool:
        """Whether somebody here waits for the end of a saga of another worker."""
        return len(self._remote) > 0

    def follow(self, handle: Handle) -> None:
        """Resolve the handle when its saga ends, here or elsewhere."""
        saga = self._by_id.get(handle.saga_id)
        if saga is not None:
            self._attach(saga, handle)
            return
        self._remote.add(handle)
        self.look_after([handle.saga_id])

    def look_after(self, saga_ids: Sequence[str] | None = None) -> None:
        """Look whether sagas that run elsewhere have ended: these, or all that are followed."""
        try:
            self._remote.look(saga_ids)
        except StoreUnavailable as error:
            self._warn("a look at other workers' sagas", error)

    def advance(self, saga: OwnedSaga, state: SagaState, events: Iterable[e.SagaEvent] | None) -> None:
        """Go on to a state that is committed, and act on what led there; without events, on all that is under way."""
        is_first = saga.state.version == 0
        saga.state = state
        if is_first:
            for handle in saga.handles:
                handle.mark_started()
        self._perform(state, events)
        if state.status.ended:
            del self._by_id[state.saga_id]
            self._dispatch.forget(state)
            for handle in saga.handles:
                handle.mark_ended(SagaResult.from_state(state))

    def catch_up(self, saga: OwnedSaga, state: SagaState | UnreadableEvent | None) -> bool:
        """Go on from what others appended to a saga; False, and dropped, when it is not ours any more."""
        if not isinstance(state, SagaState) or state.owner != self.worker_id or state.status.ended:
            self.drop(saga)
            return False
        saga.state = state
        self._perform(state, None)
        self._put(FactArrived(state.saga_id, Woken()))
        return True

    def fail(self, saga: OwnedSaga, error: Exception) -> None:
        """The saga will not be, or not with this input: tell those who asked for it."""
        for handle in saga.handles:
            handle.mark_failed(error)
        saga.handles.clear()

    def release(self, saga: OwnedSaga) -> None:
        """The saga's start is in the log, and waits for a worker that has capacity; its end is followed from afar."""
        for handle in saga.handles:
            handle.mark_started()
        self._drop(saga)

    def drop(self, saga: OwnedSaga) -> None:
        """The saga is no longer ours; those who wait for its end follow it from afar."""
        self._drop(saga)
        self.look_after([saga.state.saga_id])

    def drop_all(self) -> None:
        """None of them is ours any more."""
        for saga in list(self._by_id.values()):
            self._drop(saga)

    def abandon(self, error: Exception) -> None:
        """Tell all who wait that they wait in vain."""
        for saga in self._by_id.values():
            self._remote.add(*saga.handles)
        self._remote.fail_all(error)

    def _attach(self, saga: OwnedSaga, handle: Handle) -> None:
        saga.handles.append(handle)
        if saga.state.version:
            handle.mark_started()

    def _drop(self, saga: OwnedSaga) -> None:
        if self._by_id.get(saga.state.saga_id) is saga:  # not one that has taken its place
            del self._by_id[saga.state.saga_id]
        self._dispatch.forget(saga.state)
        self._remote.add(*saga.handles)

    def _perform(self, state: SagaState, events: Iterable[e.SagaEvent] | None) -> None:
        try:
            if events is None:
                self._dispatch.resume(state)
            else:
                self._dispatch.perform(state, events)
        except Exception as error:
            logger.exception("performing failed", saga_id=state.saga_id)
            self._put(FactArrived(state.saga_id, cannot_call(error)))
