"""Tells operators what becomes of each saga: its start and its end, its turn, and each step that is given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from saga_es.core import events as e
from saga_es.core.state import SagaState
from saga_es.logs import logger, tells_infos

Lines = Mapping[type[Any], Callable[[SagaState, Any], None]]
"""What tells an event of a saga, by the event's class."""


def lines() -> Lines:
    """The lines that are written now, by the event that each tells: what is in the log then is told by its line."""
    return _LINES if tells_infos() else _WARNINGS


def _started(state: SagaState, event: e.SagaStarted) -> None:
    if event.worker is not None and event.starts_at is None:  # otherwise it begins later, perhaps elsewhere
        _began(state, event)


def _began(state: SagaState, _event: e.SagaStarted | e.SagaBegan) -> None:
    logger.info("a saga started", **about(state))


def _completed(state: SagaState, _event: e.SagaCompleted) -> None:
    logger.info("a saga completed", **about(state))


def _failed_attempt(state: SagaState, event: e.StepFailed | e.CompensationFailed) -> None:
    direction = "compensation" if isinstance(event, e.CompensationFailed) else "action"
    its = {**about(state), "step": event.step, "direction": direction, "attempt": event.attempt}
    if event.retry_at is None:
        logger.warning("a step is given up", **its, reason=event.error)
    else:
        logger.info("an attempt failed", **its, reason=event.error, next_at=event.retry_at.isoformat())


def _aborted(state: SagaState, event: e.SagaAborted) -> None:
    logger.warning("a saga aborts, what it did is undone", **about(state), step=event.step, reason=event.error)


def _compensated(state: SagaState, _event: e.SagaCompensated) -> None:
    logger.warning("a saga is compensated", **about(state))


def _failed(state: SagaState, event: e.SagaFailed) -> None:
    cure = f"saga-es explain {state.saga_id}"
    logger.error("a saga failed and waits for a person", **about(state), reason=event.reason, cure=cure)


_LINES: Lines = {
    e.SagaStarted: _started,
    e.SagaBegan: _began,
    e.SagaCompleted: _completed,
    e.StepFailed: _failed_attempt,
    e.CompensationFailed: _failed_attempt,
    e.SagaAborted: _aborted,
    e.SagaCompensated: _compensated,
    e.SagaFailed: _failed,
}

_WARNINGS: Lines = {kind: tell for kind, tell in _LINES.items() if tell not in {_started, _began, _completed}}


def about(state: SagaState) -> dict[str, Any]:
    """The fields that each line about a saga has."""
    its = {"saga_id": state.saga_id, "saga": state.plan.saga, "worker": state.owner}
    if state.trace is not None:
        its["trace_id"] = state.trace.trace_id
    return {name: value for name, value in its.items() if value is not None}
