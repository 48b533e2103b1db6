"""The state of a saga: a fold of its events, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import reduce
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from saga_es.core.events import (
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    Intent,
    SagaAborted,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaFailed,
    SagaStarted,
    SagaTakenOver,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from saga_es.core.plan import Plan


class SagaStatus(StrEnum):
    """Where a saga is, in the words of the wire."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """True when nothing more happens by itself."""
        return self in ENDED


ENDED = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED})
UNFINISHED = frozenset(SagaStatus) - ENDED


class StepStatus(StrEnum):
    """Where a step is, in the words of the wire."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"


class StepState(msgspec.Struct, frozen=True):
    """One step. Its two counters never share: compensation starts from 1 however often the action was tried.

    Attributes:
        waiting: The failure whose `retry_at` is being waited for; None while a call is out, or none is wanted.
        in_doubt: Some attempt ended unknown, so the effect may be there although no answer said so.
        stuck: Its compensation was given up.
    """

    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    compensation_attempts: int = 0
    result: Any = None
    error: str | None = None
    waiting: StepFailed | CompensationFailed | None = None
    in_doubt: bool = False
    stuck: bool = False


NOT_STARTED = StepState()


class SagaState(msgspec.Struct, frozen=True):
    """One saga.

    Attributes:
        version: How many events were folded: the version of the stream.
        steps: The steps that have started, by name.
        effects: Steps that happened or may have, and are not compensated: in order of completion.
        failed_step: The step whose failure turned the saga round.
        error: Why it turned round, or why it is FAILED.
    """

    saga_id: str
    plan: Plan
    version: int = 0
    status: SagaStatus = SagaStatus.PENDING
    plan_id: str = ""
    input: dict[str, Any] = msgspec.field(default_factory=dict)
    owner: str | None = None
    steps: dict[str, StepState] = msgspec.field(default_factory=dict)
    effects: tuple[str, ...] = ()
    failed_step: str | None = None
    error: str | None = None

    def step(self, name: str) -> StepState:
        """The step's state, also when it has not started."""
        return self.steps.get(name, NOT_STARTED)

    @property
    def results(self) -> dict[str, Any]:
        """What the completed steps answered, by step."""
        return {name: step.result for name, step in self.steps.items() if step.status is StepStatus.COMPLETED}

    @property
    def actions_out(self) -> bool:
        """Whether some action was called and has not been answered."""
        return any(step.status is StepStatus.IN_PROGRESS for step in self.steps.values())

    @property
    def current_step_index(self) -> int:
        """How many steps are done, going forward: the place (0-based) of the step that runs, failed, or comes next."""
        if self.failed_step is not None:
            return next(i for i, step in enumerate(self.plan.steps) if step.name == self.failed_step)
        return sum(step.status is StepStatus.COMPLETED for step in self.steps.values())


def evolve(state: SagaState, event: SagaEvent) -> SagaState:  # noqa: C901, PLR0911, PLR0912 (a table: one case an event)
    """The state after one more event."""
    version = state.version + 1
    match event:
        case StepStarted(step, attempt):
            return _step(state, step, status=StepStatus.IN_PROGRESS, attempts=attempt, waiting=None)
        case StepCompleted(step, result):
            done = _step(state, step, status=StepStatus.COMPLETED, result=result, error=None)
            return replace(done, effects=(*state.effects, step))
        case StepFailed():
            return _step_failed(state, event)
        case CompensationStarted(step, attempt):
            started = {"status": StepStatus.COMPENSATING, "compensation_attempts": attempt}
            return _step(state, step, **started, waiting=None, stuck=False)
        case CompensationCompleted(step):
            undone = _step(state, step, status=StepStatus.COMPENSATED)
            return replace(undone, effects=tuple(name for name in state.effects if name != step))
        case CompensationFailed(step, error=error, retry_at=retry_at):
            return _step(state, step, error=error, waiting=event if retry_at else None, stuck=retry_at is None)
        case SagaStarted(_, plan_id, input_, worker):
            status = SagaStatus.IN_PROGRESS if worker else SagaStatus.PENDING
            return replace(state, version=version, plan_id=plan_id, input=input_, owner=worker, status=status)
        case SagaTakenOver(worker):
            return _taken_over(state, worker)
        case SagaAborted():
            return _aborted(state, event)
        case SagaCompleted():
            return replace(state, version=version, status=SagaStatus.COMPLETED)
        case SagaCompensated():
            return replace(state, version=version, status=SagaStatus.COMPENSATED)
        case SagaFailed(reason):
            return replace(state, version=version, status=SagaStatus.FAILED, error=reason)
        case _:
            assert_never(event)


def fold(state: SagaState, events: Iterable[SagaEvent]) -> SagaState:
    """The state after many more events."""
    return reduce(evolve, events, state)


def open_intents(state: SagaState) -> list[Intent]:
    """What the log says was begun and has no outcome: the calls to make again, the timers to set again."""
    if state.status.ended:
        return []
    return [intent for name, step in state.steps.items() if (intent := _open_intent(name, step)) is not None]


def _open_intent(name: str, step: StepState) -> Intent | None:
    if step.waiting is not None:
        return step.waiting
    match step.status:
        case StepStatus.IN_PROGRESS:
            return StepStarted(name, step.attempts)
        case StepStatus.COMPENSATING if not step.stuck:
            return CompensationStarted(name, step.compensation_attempts)
        case _:
            return None


def _step(state: SagaState, name: str, **changes: Any) -> SagaState:
    step = replace(state.step(name), **changes)
    return replace(state, version=state.version + 1, steps={**state.steps, name: step})


def _taken_over(state: SagaState, worker: str) -> SagaState:
    """The calls that were out may have happened: whoever would have heard the answer is gone."""
    out = {
        name: step for name, step in state.steps.items() if step.status is StepStatus.IN_PROGRESS and not step.waiting
    }
    in_doubt = {name: replace(step, in_doubt=True) for name, step in out.items()}
    return replace(
        state,
        version=state.version + 1,
        owner=worker,
        status=SagaStatus.IN_PROGRESS if state.status is SagaStatus.PENDING else state.status,
        steps={**state.steps, **in_doubt},
    )


def _aborted(state: SagaState, aborted: SagaAborted) -> SagaState:
    """Steps that wait to be tried again never will be; those in doubt may have happened."""
    waiting = {name: step for name, step in state.steps.items() if step.waiting is not None}
    given_up = {name: replace(step, status=StepStatus.FAILED, waiting=None) for name, step in waiting.items()}
    return replace(
        state,
        version=state.version + 1,
        status=SagaStatus.COMPENSATING,
        failed_step=aborted.step,
        error=aborted.error,
        steps={**state.steps, **given_up},
        effects=(*state.effects, *(name for name, step in waiting.items() if step.in_doubt)),
    )


def _step_failed(state: SagaState, failed: StepFailed) -> SagaState:
    # Once in doubt, always in doubt: a later "refused" says nothing about an earlier attempt still under way.
    in_doubt = state.step(failed.step).in_doubt or failed.failure == "unknown"
    if failed.retry_at is not None:
        return _step(state, failed.step, error=failed.error, waiting=failed, in_doubt=in_doubt)
    given_up = _step(state, failed.step, status=StepStatus.FAILED, error=failed.error, waiting=None, in_doubt=in_doubt)
    return replace(given_up, effects=(*state.effects, failed.step)) if in_doubt else given_up
