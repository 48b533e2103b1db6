"""The sagas that this worker owns, and the handles that wait for the end of these and of remote sagas."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from saga_es.core import events as e
from saga_es.core.facts import Woken
from saga_es.core.state import ENDED, SagaState, payload_size, without_payloads
from saga_es.errors import SagaExists, StoreUnavailable, UnreadableEvent
from saga_es.logs import logger
from saga_es.runtime.announcing import about
from saga_es.runtime.dispatch import Dispatch
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.ids import new_id
from saga_es.runtime.inbox import FactArrived, Put, StartRequest
from saga_es.runtime.needed_code import cannot_call
from saga_es.runtime.remote_handles import RemoteHandles
from saga_es.runtime.waiting.outage import OutageWarning


class OwnedSaga:
    """A saga that this worker owns: its state as of the last commit, and the handles that wait for its end.

    Attributes:
        size: The bytes of its payloads, also while it is asleep.
        is_asleep: Whether its state lacks the payloads: nothing may be decided then.
    """

    __slots__ = ("handles", "is_asleep", "size", "state")

    def __init__(self, state: SagaState, handles: Iterable[Handle] = ()) -> None:
        self.state = state
        self.handles = list(handles)
        self.size = payload_size(state) if state.version else 0
        self.is_asleep = False


class OwnedSagas:
    """The owned sagas by their ids. Used by the loop's thread.

    Attributes:
        awake: The sagas whose payloads are in memory.
        held: The bytes of the payloads of all sagas that are awake.
        asleep: The sagas whose payloads are in the log alone.
        left_alone: The sagas that a newer version has gone on with, so that this worker cannot read them any more.
    """

    def __init__(self, dispatch: Dispatch, remote: RemoteHandles, put: Put, warn: OutageWarning) -> None:
        self._dispatch = dispatch
        self._remote = remote
        self._put = put
        self._warn = warn
        self.awake: dict[str, OwnedSaga] = {}
        self.asleep: dict[str, OwnedSaga] = {}
        self.left_alone: set[str] = set()
        self.held = 0
        self.take_name()

    def take_name(self) -> None:
        """Take a name that no worker has had."""
        self.worker_id = f"worker-{new_id()}"
        self._named_in = os.getpid()

    @property
    def is_named_elsewhere(self) -> bool:
        """Whether the process was forked after the worker took its name: each process of a server would have it."""
        return self._named_in != os.getpid()

    def __len__(self) -> int:
        return len(self.awake) + len(self.asleep)

    def __contains__(self, saga_id: object) -> bool:
        return saga_id in self.awake or saga_id in self.asleep

    def get(self, saga_id: str) -> OwnedSaga | None:
        """The saga, awake or asleep, if this worker owns it."""
        saga = self.awake.get(saga_id)
        return self.asleep.get(saga_id) if saga is None and self.asleep else saga

    def version(self, saga_id: str) -> int:
        """The version of the last commit; 0 for a saga that this worker does not own."""
        state = self.state(saga_id)
        return state.version if state else 0

    def state(self, saga_id: str) -> SagaState | None:
        """The state as of the last commit; None for a saga that this worker does not own."""
        saga = self.get(saga_id)
        return None if saga is None else saga.state

    @property
    def ids(self) -> list[str]:
        """The ids of all owned sagas."""
        return [*self.awake, *self.asleep]

    # ── Asleep and awake ─────────────────────────────────────────────────────────────────────────────────

    def idle(self) -> Iterator[OwnedSaga]:
        """The sagas that are awake and have no call in flight; roughly, those that have waited longest come first."""
        for saga in list(self.awake.values()):
            if saga.state.version and not self._dispatch.is_calling(saga.state.saga_id):
                yield saga

    def size_of(self, saga_id: str) -> int:
        """The bytes of a saga's payloads; 0 if this worker does not own it."""
        saga = self.awake.get(saga_id)
        return 0 if saga is None else saga.size

    def size_of_definition(self, name: str) -> int:
        """The bytes of the payloads of all sagas of a definition that are awake. Any thread may ask."""
        return sum(saga.size for saga in list(self.awake.values()) if saga.state.plan.saga == name)

    def let_sleep(self, saga: OwnedSaga) -> None:
        """Let go of the payloads of a saga. Its timers, its handles and its place stay."""
        saga_id = saga.state.saga_id
        self.asleep[saga_id] = self.awake.pop(saga_id)
        self.held -= saga.size
        saga.state = without_payloads(saga.state)
        saga.is_asleep = True

    def wake(self, saga: OwnedSaga) -> None:
        """Count a saga as awake. Its state has to be loaded before anything is decided."""
        saga_id = saga.state.saga_id
        self.awake[saga_id] = self.asleep.pop(saga_id)
        self.held += saga.size

    def load(self, saga: OwnedSaga, state: SagaState | UnreadableEvent | None) -> None:
        """Go on with a saga that was asleep from its state in the log; drop it if this worker no longer owns it."""
        saga.is_asleep = False
        if isinstance(state, SagaState) and state.version == saga.state.version:
            saga.state = state
        else:  # others have appended to it meanwhile
            self.catch_up(saga, state)

    # ── Coming, going on, leaving ────────────────────────────────────────────────────────────────────────

    def add(self, state: SagaState, handle: Handle | None = None) -> OwnedSaga:
        """Own a saga from this state on. Its remote handles become its local handles."""
        stale = self.get(state.saga_id)
        if stale is not None:  # another worker took the saga over, and this worker has not noticed yet
            self._drop(stale)
        handles = [handle] if handle else self._remote.take(state.saga_id)
        saga = self.awake[state.saga_id] = OwnedSaga(state, handles)
        self.held += saga.size
        for its in handles:
            if its.context is not None:
                self._dispatch.carry(state.saga_id, its.context)
        return saga

    def join(self, saga: OwnedSaga, request: StartRequest, error: SagaExists | None) -> None:
        """Attach a start's handle to a saga that was started before. The handle fails if that saga does not answer."""
        if error is None:
            self._attach(saga, request.handle)
        else:
            request.handle.mark_failed(error)

    @property
    def follows_remote(self) -> bool:
        """Whether a handle here waits for the end of another worker's saga."""
        return len(self._remote) > 0

    def awaited(self) -> list[str]:
        """Some sagas of other workers, or of none, for whose end a handle here waits."""
        return self._remote.next_ids()

    def follow(self, handle: Handle) -> None:
        """Resolve the handle when its saga ends, here or on another worker."""
        saga = self.get(handle.saga_id)
        if saga is not None:
            self._attach(saga, handle)
            return
        self._remote.add(handle)
        self.look_after([handle.saga_id])

    def look_after(self, saga_ids: Sequence[str] | None = None) -> None:
        """Look whether remote sagas have ended: these, or all that have a handle here."""
        try:
            self._remote.look(saga_ids)
        except StoreUnavailable as error:
            self._warn("a look at other workers' sagas", error)

    def advance(self, saga: OwnedSaga, state: SagaState, events: Iterable[e.SagaEvent] | None, size: int = 0) -> None:
        """Go on to a committed state, and perform its events; without events, perform every open intent.

        Args:
            saga: The saga.
            state: The state after the commit.
            events: The events that were committed.
            size: Their bytes.
        """
        is_first = saga.state.version == 0
        saga.state = state
        saga.size += size
        self.held += size
        if is_first:
            for handle in saga.handles:
                handle.mark_started()
        if events is None:
            self._resume(state)
        else:
            try:
                self._dispatch.perform(state, events)
            except Exception as error:
                logger.exception("performing failed", **about(state))
                self._put(FactArrived(state.saga_id, cannot_call(error)))
        if state.status in ENDED:
            del self.awake[state.saga_id]
            self.held -= saga.size
            self._dispatch.forget(state)
            for handle in saga.handles:
                handle.mark_ended(SagaResult.from_state(state))

    def catch_up(self, saga: OwnedSaga, state: SagaState | UnreadableEvent | None) -> bool:
        """Go on from the state in the log. False if this worker no longer owns the saga: then it is dropped."""
        if isinstance(state, UnreadableEvent):
            logger.error("a saga cannot be read and is left alone", **about(saga.state), reason=str(state))
            self.left_alone.add(saga.state.saga_id)
        if not isinstance(state, SagaState) or state.owner != self.worker_id or state.status.ended:
            self.drop(saga)
            return False
        saga.state = state
        self.held -= saga.size
        saga.size = payload_size(state)
        self.held += saga.size
        self._resume(state)
        self._put(FactArrived(state.saga_id, Woken()))
        return True

    def fail(self, saga: OwnedSaga, error: Exception) -> None:
        """Fail the handles of a saga that cannot be started, or not with this input."""
        for handle in saga.handles:
            handle.mark_failed(error)
        saga.handles.clear()

    def release(self, saga: OwnedSaga) -> None:
        """Give up a saga whose start is in the log, and waits for capacity. Its handles become remote handles."""
        for handle in saga.handles:
            handle.mark_started()
        self._drop(saga)

    def drop(self, saga: OwnedSaga) -> None:
        """Drop a saga that this worker no longer owns. Its handles become remote handles."""
        self._drop(saga)
        self.look_after([saga.state.saga_id])

    def drop_all(self) -> None:
        """Drop all sagas."""
        for saga in [*self.awake.values(), *self.asleep.values()]:
            self._drop(saga)

    def abandon(self, error: Exception) -> None:
        """Fail all handles, local and remote."""
        for saga in [*self.awake.values(), *self.asleep.values()]:
            self._remote.add(*saga.handles)
        self._remote.fail_all(error)

    def _attach(self, saga: OwnedSaga, handle: Handle) -> None:
        saga.handles.append(handle)
        if saga.state.version:
            handle.mark_started()

    def _drop(self, saga: OwnedSaga) -> None:
        if self.awake.get(saga.state.saga_id) is saga:  # a newer one may have replaced it
            del self.awake[saga.state.saga_id]
            self.held -= saga.size
        elif self.asleep.get(saga.state.saga_id) is saga:
            del self.asleep[saga.state.saga_id]
        self._dispatch.forget(saga.state)
        self._remote.add(*saga.handles)

    def _resume(self, state: SagaState) -> None:
        try:
            self._dispatch.resume(state)
        except Exception as error:
            logger.exception("performing failed", **about(state))
            self._put(FactArrived(state.saga_id, cannot_call(error)))
