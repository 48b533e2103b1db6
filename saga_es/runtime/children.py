"""Child sagas: steps of a parent saga that are sagas themselves. They are started, awaited, and compensated as a whole.

A child is a saga like any other. It has a stream of its own, and may run on another worker. Its parent knows only how
it ended.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial

from saga_es.core import events as e
from saga_es.core.commands import Revoke
from saga_es.core.facts import CallReturned, CannotGoOn, ChildEnded, CodeMissing
from saga_es.core.outcomes import Completed, Direction, Outcome, Rejected, Unknown
from saga_es.core.state import SagaState, SagaStatus, StepStatus
from saga_es.errors import NotFound, StoreUnavailable
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.inbox import CommandRequest, FactArrived, FollowRequest, Put, StartRequest
from saga_es.runtime.needed_code import CodeHere, Missing
from saga_es.runtime.tracing import Tracing


class Children:
    """Starts, aborts and follows the child sagas of this worker's sagas. Used by the loop's thread."""

    def __init__(self, code: CodeHere, put: Put, tracing: Tracing) -> None:
        self._code = code
        self._put = put
        self._tracing = tracing
        self._followed: set[tuple[str, str, Direction]] = set()

    def start(self, state: SagaState, child: e.ChildStarted) -> None:
        """Start the child of a step, or find that it was started. The parent gets its end as a fact."""
        followed = (state.saga_id, child.step, Direction.ACTION)
        if state.paused or followed in self._followed:
            return
        saga = self._code.child(child.step, child.saga)
        if isinstance(saga, Missing):
            self._put(FactArrived(state.saga_id, CodeMissing(saga.why)))
            return
        self._followed.add(followed)
        handle = Handle(child.saga_id)
        handle.when_ended(partial(self._ended, state.saga_id, child))
        trace, by = self._tracing.child(state, child), state.by
        id_, input_ = child.saga_id, child.input
        parent, key = state.saga_id, state.key
        self._put(StartRequest(id_, saga, input_, handle, parent=parent, trace=trace, by=by, key=key))

    def revoke(self, state: SagaState) -> None:
        """Abort the children that are in progress, because their parent aborts."""
        for step in state.steps.values():
            if step.child is not None and step.status is StepStatus.IN_PROGRESS:
                self._put(CommandRequest(step.child.saga_id, _revoke(state), Future()))

    def undo(self, state: SagaState, step: str, attempt: int) -> None:
        """Compensate the child of a step, even after its end. The parent gets the outcome as a fact."""
        child, followed = state.step(step).child, (state.saga_id, step, Direction.COMPENSATION)
        if followed in self._followed:
            return
        returned = partial(self._undone, state.saga_id, step, attempt)
        if child is None:  # the intent was never recorded, so the child was never started
            self._put(_returned(state.saga_id, step, attempt, Completed()))
            return
        self._followed.add(followed)
        handle = Handle(child.saga_id)
        handle.when_ended(returned)
        recorded: Future[None] = Future()
        recorded.add_done_callback(lambda done: self._follow(handle, done))
        self._put(CommandRequest(child.saga_id, _revoke(state), recorded))

    def forget(self, state: SagaState) -> None:
        """Stop following the children of a parent that has ended, or that this worker no longer owns."""
        if not self._followed:
            return
        self._followed.difference_update((state.saga_id, step, way) for step in state.steps for way in Direction)

    def _follow(self, handle: Handle, recorded: Future[None]) -> None:
        error = recorded.exception()
        if error is None:
            self._put(FollowRequest(handle))
        elif isinstance(error, Exception):
            handle.mark_failed(error)

    def _ended(self, parent: str, child: e.ChildStarted, ended: Future[SagaResult]) -> None:
        step = child.step
        self._followed.discard((parent, step, Direction.ACTION))
        match ended.exception():
            case None:
                result = ended.result()
                status = result.status.value
                assert status in {"COMPLETED", "COMPENSATED", "FAILED"}, "it has ended"
                fact = ChildEnded(step, child.saga_id, status, result.results, result.error)  # type: ignore[arg-type]  # asserted
                self._put(FactArrived(parent, fact))
            case StoreUnavailable():
                pass  # this process stops, and the next worker finds the intent in the log
            case error:
                self._put(FactArrived(parent, CannotGoOn(f"step {step!r} cannot follow its child saga: {error}")))

    def _undone(self, parent: str, step: str, attempt: int, ended: Future[SagaResult]) -> None:
        self._followed.discard((parent, step, Direction.COMPENSATION))
        match ended.exception():
            case None:
                self._put(_returned(parent, step, attempt, _outcome(ended.result())))
            case NotFound():
                self._put(_returned(parent, step, attempt, Completed()))
            case StoreUnavailable():
                pass  # this process stops, and the next worker finds the intent in the log
            case error:
                self._put(_returned(parent, step, attempt, Unknown(f"the child saga cannot be followed: {error}")))


def _revoke(state: SagaState) -> Revoke:
    return Revoke(f"saga {state.saga_id}", state.error or "it aborted")


def _outcome(result: SagaResult) -> Outcome:
    match result.status:
        case SagaStatus.COMPENSATED:
            return Completed()
        case SagaStatus.COMPLETED:
            return Rejected(f"saga {result.saga_id} is COMPLETED, and its pivot was called: it cannot be undone")
        case _:
            return Unknown(f"saga {result.saga_id} is {result.status} and needs a person: {result.error}")


def _returned(parent: str, step: str, attempt: int, outcome: Outcome) -> FactArrived:
    return FactArrived(parent, CallReturned(step, Direction.COMPENSATION, attempt, outcome))
