"""A handle: what `engine.start` gives back, to wait on from a thread or from asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeVar, cast, get_type_hints

import msgspec

from saga_es.core.state import SagaState, SagaStatus
from saga_es.runtime.control import Control
from saga_es.runtime.waiting.promise import Promise
from saga_es.store.queries.story import SagaStory

T = TypeVar("T")


class SagaResult(msgspec.Struct, frozen=True):
    """How a saga ended.

    Attributes:
        status: COMPLETED, COMPENSATED or FAILED.
        results: What the completed steps answered, by step.
        failed_step: The step whose failure aborted the saga; None when none did.
        error: Why it aborted, or why it is FAILED.
    """

    saga_id: str
    name: str
    status: SagaStatus
    results: dict[str, Any]
    failed_step: str | None = None
    error: str | None = None

    @property
    def completed(self) -> bool:
        """Whether every step was done."""
        return self.status is SagaStatus.COMPLETED

    def of(self, step: Callable[..., T]) -> T:
        """What a step returned, as the type that its function says: a dataclass, a struct, a dict.

        Args:
            step: The function of the step.

        Raises:
            KeyError: The step is not done.
            msgspec.ValidationError: What it returned is not of that type.
        """
        returned = self.results[step.__name__]
        returns = get_type_hints(step).get("return", Any)
        return cast("T", msgspec.convert(returned, returns, strict=False))

    @classmethod
    def from_state(cls, state: SagaState) -> SagaResult:
        """The result of a saga that has ended."""
        return cls(state.saga_id, state.plan.saga, state.status, state.results, state.failed_step, state.error)


class Handle:
    """A saga that was asked for. Wait with `result()`, or `await` the handle itself.

    Args:
        lookups: How often it may be looked for in vain: the transaction that starts it has yet to commit.
        control: What commands go through: the engine or client that made the handle.
    """

    def __init__(self, saga_id: str, *, lookups: int = 0, control: Control | None = None) -> None:
        self.saga_id = saga_id
        self.lookups = lookups
        self.control = control
        self._started: Promise[None] = Promise()
        self._ended: Promise[SagaResult] = Promise()

    def started(self, timeout: float | None = None) -> None:
        """Block until the saga's start is in the log, and so survives any crash.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; whether the saga will run is not known.
            SagaExists: The id or key stands for a saga with another input.
        """
        self._started.wait(timeout)

    def result(self, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, here or on another worker.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; the saga goes on.
            SagaExists: The id or key stands for a saga with another input.
            NotFound: There is no such saga.
        """
        return self._ended.wait(timeout)

    def status(self) -> SagaStory:
        """How the saga is, and each of its steps; exact at the moment of reading.

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
        assert self.control is not None, "a handle that is given out has one"
        return self.control

    def __await__(self) -> Generator[Any, None, SagaResult]:
        # Shielded: one who stops waiting must not take the result from the others.
        return asyncio.shield(asyncio.wrap_future(self._ended.future)).__await__()

    def when_ended(self, callback: Callable[[Future[SagaResult]], None]) -> None:
        """Have it called when the end is known, or that it never will be; on a thread of the engine: be quick."""
        self._ended.future.add_done_callback(callback)

    # ── The engine's side ────────────────────────────────────────────────────────────────────────────────

    def stop_looking(self) -> None:
        """The saga is in the log by now, or never will be."""
        self.lookups = 0

    def mark_started(self) -> None:
        """The start is in the log."""
        self._started.resolve(None)

    def mark_ended(self, result: SagaResult) -> None:
        """The end is in the log."""
        self._started.resolve(None)
        self._ended.resolve(result)

    def mark_failed(self, error: Exception) -> None:
        """Neither will be known here."""
        self._started.resolve(None, error)
        self._ended.resolve(None, error)
