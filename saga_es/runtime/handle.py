"""A handle: the result of `engine.start`. A thread or a coroutine waits on it for the end of the saga."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextvars import Context
from typing import Any, TypeVar, cast

import msgspec

from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.annotations import RETURN, readers_of
from saga_es.runtime.control import Control
from saga_es.runtime.waiting.promise import Promise
from saga_es.store.queries.story import SagaStory

T = TypeVar("T")


class SagaResult(msgspec.Struct, frozen=True):
    """How a saga ended.

    Attributes:
        status: COMPLETED, COMPENSATED or FAILED.
        results: The results of the completed steps, by step.
        failed_step: The step whose failure aborted the saga; None if no step did.
        error: Why the saga aborted, or why it is FAILED.
    """

    saga_id: str
    name: str
    status: SagaStatus
    results: dict[str, Any]
    failed_step: str | None = None
    error: str | None = None

    @property
    def completed(self) -> bool:
        """Whether the saga is COMPLETED: every step was done."""
        return self.status is SagaStatus.COMPLETED

    def of(self, step: Callable[..., T]) -> T:
        """The result of a step, converted to the return type of its function: a dataclass, a struct, a dict.

        Args:
            step: The function of the step.

        Raises:
            KeyError: The step was not completed.
            msgspec.ValidationError: The result does not fit that type.
        """
        returned = self.results[step.__name__]
        read = readers_of(step).get(RETURN)
        return cast("T", returned if read is None or returned is None else read(msgspec.json.encode(returned)))

    @classmethod
    def from_state(cls, state: SagaState) -> SagaResult:
        """The result of a saga that has ended."""
        return cls(state.saga_id, state.plan.saga, state.status, state.results, state.failed_step, state.error)


class Handle:
    """A handle on one saga. Wait with `result()`, or `await` the handle itself.

    Args:
        lookups: How often the saga may be missing from the log before the handle fails: the transaction that starts it
            may not have committed yet.
        control: The engine or client that made the handle. The handle's commands go through it.

    Attributes:
        context: The context variables that the saga's calls in this process get; None: none are carried.
    """

    def __init__(self, saga_id: str, *, lookups: int = 0, control: Control | None = None) -> None:
        self.saga_id = saga_id
        self.lookups = lookups
        self.control = control
        self.context: Context | None = None
        self._started: Promise[None] = Promise()
        self._ended: Promise[SagaResult] = Promise()

    def started(self, timeout: float | None = None) -> None:
        """Block until the saga's start is in the log. From then on, the saga survives any crash.

        Args:
            timeout: Seconds to wait; None: for ever.

        Raises:
            TimeoutError: It took longer than `timeout` seconds. The saga may still start.
            SagaExists: The id or key belongs to a saga with another input.
        """
        self._started.wait(timeout)

    def until_started(self) -> Awaitable[None]:
        """What a coroutine awaits instead of `started`: `await engine.start(..., wait=False).until_started()`."""
        return asyncio.shield(asyncio.wrap_future(self._started.future))

    def result(self, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, here or on another worker.

        Args:
            timeout: Seconds to wait; None: for ever.

        Raises:
            TimeoutError: It took longer than `timeout` seconds. The saga goes on.
            SagaExists: The id or key belongs to a saga with another input.
            NotFound: There is no such saga.
            RuntimeError: This thread runs the event loop on which steps of the engine are awaited.
        """
        if self.control is not None and not self._ended.is_known:
            self.control.check_may_block()
        return self._ended.wait(timeout)

    def status(self) -> SagaStory:
        """The status of the saga and of each of its steps; exact when it is read.

        Raises:
            NotFound: There is no such saga.
            StoreUnavailable: The database did not answer.
        """
        return self._controlled().status(self.saga_id)

    def cancel(self, *, reason: str, actor: str) -> None:
        """Abort the saga; see `Control.cancel`."""
        self._controlled().cancel(self.saga_id, reason=reason, actor=actor)

    def signal(self, name: str, payload: Any = None, *, key: str | None = None) -> None:
        """Send the saga a signal; see `Control.signal`."""
        self._controlled().signal(self.saga_id, name, payload, key=key)

    def _controlled(self) -> Control:
        assert self.control is not None, "every handle that a caller gets has a control"
        return self.control

    def __await__(self) -> Generator[Any, None, SagaResult]:
        # Shielded: a waiter that is cancelled must not cancel the future of the others.
        return asyncio.shield(asyncio.wrap_future(self._ended.future)).__await__()

    def when_ended(self, callback: Callable[[Future[SagaResult]], None]) -> None:
        """Call back once the saga has ended, or its end can never be known. The engine's thread calls: be quick."""
        self._ended.future.add_done_callback(callback)

    # ── The engine's side ────────────────────────────────────────────────────────────────────────────────

    def stop_looking(self) -> None:
        """Fail at the next look if the saga is not in the log: the transaction that would start it is over."""
        self.lookups = 0

    def mark_started(self) -> None:
        """The start is in the log."""
        self._started.resolve(None)

    def mark_ended(self, result: SagaResult) -> None:
        """The end is in the log."""
        if not self._started.is_known:
            self._started.resolve(None)
        self._ended.resolve(result)

    def mark_failed(self, error: Exception) -> None:
        """The start and the end will never be known here."""
        self._started.resolve(None, error)
        self._ended.resolve(None, error)
