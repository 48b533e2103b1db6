"""The story of one saga: what people read of it, folded from its stream. Exact at every moment; no view is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from saga_es.core.events import CompensationCompleted, StepCompleted, StepFailed, StepStarted
from saga_es.core.plan import StepPlan
from saga_es.core.state import SagaState, SagaStatus, StepStatus
from saga_es.store.log import Recorded


class StepStory(msgspec.Struct, frozen=True):
    """One step, in the words of the wire.

    Attributes:
        attempts: How often the action was called.
        completed_at: When the action was done, or given up.
        compensated_at: When its effect was undone.
    """

    step: str
    name: str
    status: StepStatus
    attempts: int
    compensation_attempts: int
    result: Any
    error: str | None
    started_at: datetime | None
    completed_at: datetime | None
    compensated_at: datetime | None


class SagaStory(msgspec.Struct, frozen=True):
    """One saga, in the words of the wire."""

    transaction_id: str
    name: str
    status: SagaStatus
    current_step_index: int
    input: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    error: str | None
    failed_step: str | None
    version: int
    owner: str | None
    steps: list[StepStory]


def story(state: SagaState, history: Sequence[Recorded]) -> SagaStory:
    """The story that a saga's history tells; `state` is its fold."""
    return SagaStory(
        transaction_id=state.saga_id,
        name=state.plan.saga,
        status=state.status,
        current_step_index=state.current_step_index,
        input=state.input,
        created_at=history[0].recorded_at,
        updated_at=history[-1].recorded_at,
        error=state.error,
        failed_step=state.failed_step,
        version=state.version,
        owner=state.owner,
        steps=[_step(step, state, history) for step in state.plan.steps],
    )


def _step(planned: StepPlan, state: SagaState, history: Sequence[Recorded]) -> StepStory:
    step = state.step(planned.name)
    times: dict[str, datetime] = {}
    for recorded in history:
        match recorded.event:
            case StepStarted(name, 1) if name == planned.name:
                times["started"] = recorded.recorded_at
            case StepCompleted(name) | StepFailed(name, retry_at=None) if name == planned.name:
                times["completed"] = recorded.recorded_at
            case CompensationCompleted(name) if name == planned.name:
                times["compensated"] = recorded.recorded_at
            case _:
                pass
    return StepStory(
        step=planned.name,
        name=planned.title,
        status=step.status,
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        result=step.result,
        error=step.error,
        started_at=times.get("started"),
        completed_at=times.get("completed"),
        compensated_at=times.get("compensated"),
    )
