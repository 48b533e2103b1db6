"""A handle: what `engine.start` gives back, to wait on from a thread or from asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any

import msgspec

from saga_es.core.state import SagaState, SagaStatus


class SagaResult(msgspec.Struct, frozen=True):
    """How a saga ended.

    Attributes:
        status: COMPLETED, COMPENSATED or FAILED.
        results: What the completed steps answered, by step.
        failed_step: The step whose failure turned the saga round; None when none did.
        error: Why it turned round, or why it is FAILED.
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

    @classmethod
    def of(cls, state: SagaState) -> SagaResult:
        """The result of a saga that has ended."""
        return cls(state.saga_id, state.plan.saga, state.status, state.results, state.failed_step, state.error)


class Handle:
    """A saga that was asked for. Wait with `result()`, or `await` the handle itself.

    Args:
        patience: How often it may be looked for in vain: the transaction that starts it has yet to commit.
    """

    def __init__(self, saga_id: str, *, patience: int = 0) -> None:
        self.saga_id = saga_id
        self.patience = patience
        self._started: Future[None] = Future()
        self._ended: Future[SagaResult] = Future()

    def started(self, timeout: float | None = None) -> None:
        """Block until the saga's start is in the log, and so survives any crash.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; whether the saga will run is not known.
            SagaExists: The id or key stands for a saga with another input.
        """
        self._started.result(timeout)

    def result(self, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, here or on another worker.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; the saga goes on.
            SagaExists: The id or key stands for a saga with another input.
            NotFound: There is no such saga.
        """
        return self._ended.result(timeout)

    def __await__(self) -> Generator[Any, None, SagaResult]:
        # Shielded: one who stops waiting must not take the result from the others.
        return asyncio.shield(asyncio.wrap_future(self._ended)).__await__()

    def when_ended(self, callback: Callable[[Future[SagaResult]], None]) -> None:
        """Have it called when the end is known, or that it never will be; on a thread of the engine: be quick."""
        self._ended.add_done_callback(callback)

    # ── The engine's side ────────────────────────────────────────────────────────────────────────────────

    def lose_patience(self) -> None:
        """The saga is in the log by now, or never will be."""
        self.patience = 0

    def mark_started(self) -> None:
        """The start is in the log."""
        if not self._started.done():
            self._started.set_result(None)

    def mark_ended(self, result: SagaResult) -> None:
        """The end is in the log."""
        self.mark_started()
        if not self._ended.done():
            self._ended.set_result(result)

    def mark_failed(self, error: Exception) -> None:
        """Neither will be known here."""
        for future in (self._started, self._ended):
            if not future.done():
                future.set_exception(error)
