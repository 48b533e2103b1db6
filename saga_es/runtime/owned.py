"""The sagas this loop owns, those it only follows, and who waits for the end of either."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from saga_es.core.events import SagaEvent
from saga_es.core.facts import Woken
from saga_es.core.state import SagaState
from saga_es.errors import SagaExists, StoreUnavailable, UnreadableEvent
from saga_es.runtime.dispatch import Calls, cannot_call
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.inbox import Begin, Put, Tell
from saga_es.runtime.remote_handles import Followers
from saga_es.runtime.run import Run, is_same_start
from saga_es.runtime.waiting.outage import OutageWarning

logger = structlog.get_logger("saga_es")


class Runs:
    """Sagas by their ids, as of their last commit. Used by the loop's thread."""

    def __init__(self, calls: Calls, followers: Followers, put: Put, warn: OutageWarning) -> None:
        self._calls = calls
        self._followers = followers
        self._put = put
        self._warn = warn
        self._runs: dict[str, Run] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, saga_id: object) -> bool:
        return saga_id in self._runs

    def get(self, saga_id: str) -> Run | None:
        """The saga, if it is run here."""
        return self._runs.get(saga_id)

    def version(self, saga_id: str) -> int:
        """The version that is known here; 0 of a saga that is not run here."""
        state = self.state(saga_id)
        return state.version if state else 0

    def state(self, saga_id: str) -> SagaState | None:
        """The saga's state as far as is known here, if it is run here."""
        run = self._runs.get(saga_id)
        return None if run is None else run.state

    @property
    def ids(self) -> list[str]:
        """All of them."""
        return list(self._runs)

    def add(self, state: SagaState, handle: Handle | None = None) -> Run:
        """Run a saga from this state on; those who followed it from afar wait here now."""
        here = self._runs.get(state.saga_id)
        if here is not None:  # it was taken from us while we slept, and we have not noticed yet
            self._drop(here)
        handles = [handle] if handle else self._followers.take(state.saga_id)
        run = self._runs[state.saga_id] = Run(state, handles)
        return run

    def join(self, run: Run, state: SagaState, begin: Begin) -> None:
        """Have one who asked for a saga that was started before wait for that one, if it is the same."""
        if is_same_start(state, begin.definition.name, begin.input):
            self._attach(run, begin.handle)
        else:
            begin.handle.mark_failed(SagaExists(begin.saga_id))

    def follow(self, handle: Handle) -> None:
        """Resolve the handle when its saga ends, here or elsewhere."""
        run = self._runs.get(handle.saga_id)
        if run is not None:
            self._attach(run, handle)
            return
        self._followers.add(handle)
        self.look_after([handle.saga_id])

    def look_after(self, saga_ids: Sequence[str] | None = None) -> None:
        """Look whether sagas that run elsewhere have ended: these, or all that are followed."""
        try:
            self._followers.look(saga_ids)
        except StoreUnavailable as error:
            self._warn("a look at other workers' sagas", error)

    def advance(self, run: Run, state: SagaState, events: Iterable[SagaEvent] | None) -> None:
        """Go on to a state that is committed, and act on what led there; without events, on all that is under way."""
        is_first = run.state.version == 0
        run.state = state
        if is_first:
            for handle in run.handles:
                handle.mark_started()
        self._perform(state, events)
        if state.status.ended:
            del self._runs[state.saga_id]
            self._calls.forget(state)
            for handle in run.handles:
                handle.mark_ended(SagaResult.of(state))

    def catch_up(self, run: Run, state: SagaState | UnreadableEvent | None, worker_id: str) -> bool:
        """Go on from what others appended to a saga; False, and dropped, when it is not ours any more."""
        if not isinstance(state, SagaState) or state.owner != worker_id or state.status.ended:
            self.drop(run)
            return False
        run.state = state
        self._perform(state, None)
        self._put(Tell(state.saga_id, Woken()))
        return True

    def fail(self, run: Run, error: Exception) -> None:
        """The saga will not be, or not with this input: tell those who asked for it."""
        for handle in run.handles:
            handle.mark_failed(error)
        run.handles.clear()

    def release(self, run: Run) -> None:
        """The saga's start is in the log, and waits for a worker that has capacity; its end is followed from afar."""
        for handle in run.handles:
            handle.mark_started()
        self._drop(run)

    def drop(self, run: Run) -> None:
        """The saga is no longer ours; those who wait for its end follow it from afar."""
        self._drop(run)
        self.look_after([run.state.saga_id])

    def drop_all(self) -> None:
        """None of them is ours any more."""
        for run in list(self._runs.values()):
            self._drop(run)

    def abandon(self, error: Exception) -> None:
        """Tell all who wait that they wait in vain."""
        for run in self._runs.values():
            self._followers.add(*run.handles)
        self._followers.fail_all(error)

    def _attach(self, run: Run, handle: Handle) -> None:
        run.handles.append(handle)
        if run.state.version:
            handle.mark_started()

    def _drop(self, run: Run) -> None:
        if self._runs.get(run.state.saga_id) is run:  # not one that has taken its place
            del self._runs[run.state.saga_id]
        self._calls.forget(run.state)
        self._followers.add(*run.handles)

    def _perform(self, state: SagaState, events: Iterable[SagaEvent] | None) -> None:
        try:
            if events is None:
                self._calls.resume(state)
            else:
                self._calls.perform(state, events)
        except Exception as error:
            logger.exception("performing failed", saga_id=state.saga_id)
            self._put(Tell(state.saga_id, cannot_call(error)))
