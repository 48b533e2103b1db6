"""Counts what was appended: events become counters and durations, away from the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.plan import step_of
from saga_es.core.state import SagaStatus
from saga_es.metrics.observed import Batches, WrittenBatch
from saga_es.metrics.series import Series
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Conflict, Refused, Written

REMEMBERED = 200_000
"""Sagas under way that are remembered; of an older one, name and start are read again when something happens to it."""

_POISONED = "workers crashed while step"


class Known(NamedTuple):
    """What the view says of a saga: the name of its definition, and when it was started."""

    name: str
    started_at: datetime


Find = Callable[[list[str]], Mapping[str, Known]]
"""Looks sagas up that were started elsewhere; those that it does not find are left out."""


class _Saga(msgspec.Struct):
    """A saga under way: its definition, its start, and when each open intent was committed."""

    name: str
    started_at: datetime
    intents: dict[tuple[str, Direction], datetime] = {}


class Counting:
    """Counts batches into series. Used by one thread at a time.

    Args:
        batches: Where the writer leaves what it wrote.
        find: Looks sagas up that were started elsewhere.
    """

    def __init__(self, series: Series, batches: Batches, find: Find) -> None:
        self._series = series
        self._batches = batches
        self._find = find
        self._sagas: dict[str, _Saga] = {}

    def count(self) -> None:
        """Count everything that was written since the last time."""
        taken: list[WrittenBatch] = []
        while self._batches:
            taken.append(self._batches.popleft())
        for batch in taken:
            self._count_batch(batch)
        drafts = [draft for batch in taken for draft in _written(batch) if draft.category == SAGA]
        self._look_up(drafts)
        for draft in drafts:
            self._count_saga(draft)
        while len(self._sagas) > REMEMBERED:
            del self._sagas[next(iter(self._sagas))]

    def _count_batch(self, batch: WrittenBatch) -> None:
        if events := sum(len(draft.events) for draft in _written(batch)):
            self._series.observe("append_duration_seconds", batch.seconds)
            self._series.observe("append_events", events)
        for name, kind in (("append_conflicts", Conflict), ("appends_refused", Refused)):
            if times := sum(isinstance(receipt, kind) for receipt in batch.receipts):
                self._series.add(name, amount=times)

    def _look_up(self, drafts: Iterable[Draft]) -> None:
        """Look up the sagas that others started; of one that cannot be found, nothing is counted."""
        starts = {draft.stream_id for draft in drafts if isinstance(draft.events[0], e.SagaStarted)}
        unknown = sorted({draft.stream_id for draft in drafts} - starts - self._sagas.keys())
        if unknown:
            found = self._find(unknown)
            self._sagas |= {saga_id: _Saga(known.name, known.started_at) for saga_id, known in found.items()}

    def _count_saga(self, draft: Draft) -> None:
        first, at = draft.events[0], draft.recorded_at
        if isinstance(first, e.SagaStarted):
            self._sagas[draft.stream_id] = _Saga(first.saga, at)
            if first.worker is not None and first.starts_at is None:  # otherwise it begins later, perhaps elsewhere
                self._series.add("sagas_started", (first.saga,))
        if saga := self._sagas.get(draft.stream_id):
            for event in draft.events:
                self._count_event(draft, saga, event, at)

    def _count_event(self, draft: Draft, saga: _Saga, event: e.SagaEvent, at: datetime) -> None:  # noqa: C901 (a table: one case a kind of event)
        name = saga.name
        match event:
            case e.StepStarted(step, attempt):
                self._begin(saga, step, Direction.ACTION, attempt, at)
            case e.CompensationStarted(step, attempt):
                self._begin(saga, step, Direction.COMPENSATION, attempt, at)
            case e.StepCompleted(step):
                self._end(saga, step, Direction.ACTION, "completed", at)
            case e.CompensationCompleted(step):
                self._end(saga, step, Direction.COMPENSATION, "completed", at)
                self._series.add("compensations", (name, step_of(step)))
            case e.StepFailed(step, failure=failure):
                self._end(saga, step, Direction.ACTION, failure, at)
            case e.CompensationFailed(step, failure=failure):
                self._end(saga, step, Direction.COMPENSATION, failure, at)
            case e.SagaBegan():
                self._series.add("sagas_started", (name,))
            case e.SagaTakenOver(_, previous):
                self._series.add("takeovers" if previous else "claims")
            case e.SagaAborted():
                self._series.add("sagas_aborted", (name,))
            case e.SignalReceived():
                self._series.add("signals", (name,))
            case _:
                self._count_end(draft, saga, event, at)
                self._count_command(event)

    def _begin(self, saga: _Saga, step: str, direction: Direction, attempt: int, at: datetime) -> None:
        saga.intents[step, direction] = at
        if attempt > 1:
            self._series.add("step_retries", (saga.name, step_of(step), direction))

    def _end(self, saga: _Saga, step: str, direction: Direction, outcome: str, at: datetime) -> None:
        began_at = saga.intents.pop((step, direction), None)
        if began_at is None:  # a step that only waited, or an attempt that another worker began
            return
        labels = (saga.name, step_of(step), direction)
        self._series.add("step_attempts", (*labels, outcome))
        self._series.observe("step_duration_seconds", max(0.0, (at - began_at).total_seconds()), labels)

    def _count_end(self, draft: Draft, saga: _Saga, event: e.SagaEvent, at: datetime) -> None:
        status = _end_of(event)
        if status is None:
            return
        labels = (saga.name, status)
        self._series.add("sagas_ended", labels)
        seconds = max(0.0, (at - saga.started_at).total_seconds())
        self._series.observe("saga_duration_seconds", seconds, labels, _exemplar(draft))
        if isinstance(event, e.SagaFailed) and _POISONED in event.reason:
            self._series.add("sagas_poisoned", (saga.name,))
        del self._sagas[draft.stream_id]

    def _count_command(self, event: e.SagaEvent) -> None:
        if command := _command_of(event):
            self._series.add("commands", (command,))


def _exemplar(draft: Draft) -> dict[str, str]:
    """Names the saga, and its trace if it has one: at most 111 of the 128 characters that OpenMetrics allows."""
    exemplar = {"saga_id": draft.stream_id}
    return exemplar if draft.trace_id is None else {**exemplar, "trace_id": draft.trace_id}


def _written(batch: WrittenBatch) -> list[Draft]:
    return [
        draft for (draft, _), receipt in zip(batch.drafts, batch.receipts, strict=True) if isinstance(receipt, Written)
    ]


_ENDS: dict[type[Any], SagaStatus] = {
    e.SagaCompleted: SagaStatus.COMPLETED,
    e.SagaCompensated: SagaStatus.COMPENSATED,
    e.SagaFailed: SagaStatus.FAILED,
}


def _end_of(event: e.SagaEvent) -> SagaStatus | None:
    return SagaStatus(event.status) if isinstance(event, e.SagaResolved) else _ENDS.get(type(event))


_COMMANDS: dict[type[Any], str] = {
    e.SagaCancelled: "cancel",
    e.SagaPaused: "pause",
    e.SagaResumed: "resume",
    e.RetryOrdered: "retry",
    e.SagaReopened: "retry",
    e.StepSkipped: "skip",
    e.CompensationSkipped: "skip",
    e.InputReplaced: "replace-input",
    e.SagaResolved: "resolve",
}


def _command_of(event: e.SagaEvent) -> str | None:
    if isinstance(event, e.StepSkipped) and event.actor is None:  # its condition did not hold
        return None
    if isinstance(event, e.SagaFailed):
        return None if event.actor is None else "fail"
    return _COMMANDS.get(type(event))
