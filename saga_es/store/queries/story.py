"""The story of one saga, folded from its stream for people. It is exact at every moment; it reads no view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from saga_es.core import events as e
from saga_es.core.migration import present_keys
from saga_es.core.plan import StepPlan
from saga_es.core.state import SagaState, SagaStatus, StepState, StepStatus
from saga_es.store.log.entries import Recorded


class Skip(msgspec.Struct, frozen=True):
    """Why a step, or its compensation, was skipped: a person skipped it, or (None) its condition did not hold."""

    at: datetime
    actor: str | None
    reason: str | None


class Pause(msgspec.Struct, frozen=True):
    """Who paused a saga, when, and why."""

    at: datetime
    actor: str
    reason: str


class Progress(msgspec.Struct, frozen=True):
    """What a call of a step last said of itself, and when it was recorded.

    Attributes:
        direction: `action`, `compensation` or `probe`.
    """

    at: datetime
    direction: str
    attempt: int
    details: Any


class StepStory(msgspec.Struct, frozen=True):
    """One step, or one element of a fanned-out step, in the words of the wire.

    Attributes:
        attempts: How often the action was called; for a fanned-out step, the sum over its elements.
        frame: Where the application's code raised the error, if it is an exception: `shop.py:31 in charge`.
        completed_at: When the action was done, or given up.
        compensated_at: When its effect was undone, or taken for undone.
        until: The time until which a step waits; None: it waits for ever, or not at all.
        retry_at: When a failed call is made again.
        child: The saga that it runs.
        skip: Why it was skipped, if it was.
        last_progress: What its calls last said while they went on; None if they said nothing.
        elements: The elements of a fanned-out step, once the list is known.
    """

    step: str
    name: str
    status: StepStatus
    attempts: int
    compensation_attempts: int
    result: Any
    error: str | None
    frame: str | None
    started_at: datetime | None
    completed_at: datetime | None
    compensated_at: datetime | None
    until: datetime | None
    retry_at: datetime | None
    child: str | None
    skip: Skip | None
    last_progress: Progress | None
    elements: list[StepStory] | None


class Unread(msgspec.Struct, frozen=True):
    """An event that this version cannot read, and why: a newer version wrote it, or its class is gone."""

    version: int
    type: str
    why: str


class SagaStory(msgspec.Struct, frozen=True):
    """One saga, in the words of the wire.

    Attributes:
        unreadable: The events that this version cannot read. The story ends before the first of them: the effect of an
            event that is not understood is unknown.
        waits_for: The code that it waits for, if no living worker has it; only where somebody has looked.
    """

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
    paused: bool
    pause: Pause | None
    tags: dict[str, str]
    parent: str | None
    starts_at: datetime | None
    deadline_at: datetime | None
    steps: list[StepStory]
    unreadable: list[Unread]
    waits_for: str | msgspec.UnsetType = msgspec.UNSET


def story(state: SagaState, history: Sequence[Recorded], unreadable: Sequence[Unread] = ()) -> SagaStory:
    """The story that a saga's history tells; `state` is its fold, `unreadable` what follows it."""
    times = _times(history)
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
        paused=state.paused is not None,
        pause=_pause(state, history),
        tags=state.tags,
        parent=state.parent,
        starts_at=state.starts_at,
        deadline_at=state.deadline_at,
        steps=[_step(step, state, times) for step in state.plan.steps],
        unreadable=list(unreadable),
    )


# ── When things happened ─────────────────────────────────────────────────────────────────────────────────


class _Times(msgspec.Struct):
    """When things last happened to a step or element; results of attempts before the last do not count."""

    started: datetime | None = None
    completed: datetime | None = None
    compensated: datetime | None = None
    skip: Skip | None = None
    progress: Progress | None = None


def _times(history: Sequence[Recorded]) -> dict[str, _Times]:
    times: dict[str, _Times] = defaultdict(_Times)
    for recorded in history:
        if isinstance(recorded.event, e.SagaMigrated):
            times = defaultdict(_Times, present_keys(times, recorded.event))
        _note(times, recorded.event, recorded.recorded_at)
    return times


def _note(times: dict[str, _Times], event: e.SagaEvent, at: datetime) -> None:
    match event:
        case e.StepStarted(name) | e.WaitStarted(name) | e.StepFannedOut(name):
            times[name].started = times[name].started or at
            times[name].completed = None
        case e.StepCompleted(name) | e.StepFailed(name, retry_at=None) | e.ProbeAnswered(name, happened=True):
            times[name].completed = at
        case e.StepProgressed(name, attempt, direction, details):
            times[name].progress = Progress(at, direction, attempt, details)
        case e.CompensationCompleted(name):
            times[name].compensated = at
        case e.CompensationSkipped(name, actor, reason):
            times[name].compensated = at
            times[name].skip = Skip(at, actor, reason)
        case e.StepSkipped(name, actor, reason):
            times[name].skip = Skip(at, actor, reason)
        case _:
            pass


def _pause(state: SagaState, history: Sequence[Recorded]) -> Pause | None:
    if state.paused is None:
        return None
    at = next(recorded.recorded_at for recorded in reversed(history) if isinstance(recorded.event, e.SagaPaused))
    return Pause(at, state.paused.actor, state.paused.reason)


# ── Steps ────────────────────────────────────────────────────────────────────────────────────────────────


def _step(planned: StepPlan, state: SagaState, times: dict[str, _Times]) -> StepStory:
    whole = _element(planned.name, planned, state, times)
    if planned.name not in state.fan_outs:
        return whole
    elements = [_element(name, planned, state, times) for name in state.elements(planned.name)]
    status = _status_of_all(whole.status, [element.status for element in elements], is_done=state.is_done(planned.name))
    is_over = status in {StepStatus.COMPLETED, StepStatus.COMPENSATED}
    return msgspec.structs.replace(
        whole,
        status=status,
        attempts=sum(element.attempts for element in elements),
        compensation_attempts=sum(element.compensation_attempts for element in elements),
        result=state.result(planned.name),
        error=whole.error or next((element.error for element in elements if element.error), None),
        frame=whole.frame or next((element.frame for element in elements if element.frame), None),
        completed_at=_latest(whole.started_at, *(element.completed_at for element in elements)) if is_over else None,
        compensated_at=_latest(*(element.compensated_at for element in elements))
        if status is StepStatus.COMPENSATED
        else None,
        elements=elements,
    )


def _element(name: str, planned: StepPlan, state: SagaState, times: dict[str, _Times]) -> StepStory:
    step, when = state.step(name), times[name]
    return StepStory(
        step=name,
        name=planned.title,
        status=step.status,
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        result=step.result,
        error=step.error,
        frame=step.frame,
        started_at=when.started,
        completed_at=when.completed,
        compensated_at=when.compensated,
        until=step.wait.until if step.wait else None,
        retry_at=step.waiting.retry_at if step.waiting else None,
        child=_child(step),
        skip=when.skip,
        last_progress=when.progress,
        elements=None,
    )


def _child(step: StepState) -> str | None:
    return step.child.saga_id if step.child else None


def _status_of_all(own: StepStatus, elements: Sequence[StepStatus], *, is_done: bool) -> StepStatus:
    """The status of a fanned-out step: that of the element that needs attention most."""
    if own is not StepStatus.PENDING:
        return own
    if is_done:
        return StepStatus.SKIPPED if set(elements) == {StepStatus.SKIPPED} else StepStatus.COMPLETED
    if {StepStatus.COMPLETED, StepStatus.COMPENSATED} <= set(elements):
        return StepStatus.COMPENSATING
    by_need = (StepStatus.COMPENSATING, StepStatus.IN_PROGRESS, StepStatus.FAILED, StepStatus.COMPENSATED)
    return next((status for status in by_need if status in elements), StepStatus.IN_PROGRESS)


def _latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
