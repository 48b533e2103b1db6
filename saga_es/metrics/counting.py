"""Counts what was appended: events become counters and durations.

The loop's own thread sums up each batch that it wrote, in plain numbers and lists: the events are still in the
processor's caches, and nothing is kept for later. Once a second the series hear of the sums, on another thread, which
also looks up the sagas that others started.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from operator import itemgetter
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.plan import step_of
from saga_es.core.state import SagaStatus
from saga_es.logs import logger
from saga_es.metrics.observed import WrittenBatch
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
    """A saga under way: its definition, its start, and when each open intent was committed, by its step."""

    name: str
    started_at: datetime
    actions: dict[str, datetime] = {}
    compensations: dict[str, datetime] = {}


class _Sums(msgspec.Struct):
    """What was counted and the series have not heard of yet.

    Attributes:
        batches: The seconds of each append, and its events.
        counts: What to add to counters, by metric and labels.
        completed: The times that actions took which were completed, by definition and step or element: the bulk.
        attempts: The times of all other attempts, by definition, step or element, direction and outcome.
        ends: The times that sagas took, each with the draft that ended it, by definition and status.
    """

    batches: list[tuple[float, int]]
    counts: Counter[tuple[str, tuple[str, ...]]]
    completed: defaultdict[tuple[str, str], list[timedelta]]
    attempts: defaultdict[tuple[str, str, Direction, str], list[timedelta]]
    ends: defaultdict[tuple[str, str], list[tuple[timedelta, Draft]]]

    @classmethod
    def none(cls) -> _Sums:
        """Nothing."""
        return cls([], Counter(), defaultdict(list), defaultdict(list), defaultdict(list))


class Counting:
    """Counts batches into series. One thread writes batches, and one other thread counts what was summed up.

    Args:
        find: Looks sagas up that were started elsewhere.
    """

    def __init__(self, series: Series, find: Find) -> None:
        self._series = series
        self._find = find
        self._sagas: dict[str, _Saga] = {}
        self._sums = _Sums.none()
        self._unknown: list[Draft] = []
        self._lock = Lock()
        self._has_failed = False

    def observe(self, batch: WrittenBatch) -> None:
        """Sum up a batch. It raises nothing: no metric is worth a batch."""
        try:
            with self._lock:
                self._sum_up(batch)
        except Exception:
            if not self._has_failed:  # once, not for each batch
                self._has_failed = True
                logger.exception("counting failed; some events are missing in the metrics")

    def count(self) -> None:
        """Tell the series everything that was summed up since the last time."""
        if self._unknown:
            with self._lock:
                wanted = {draft.stream_id for draft in self._unknown}
            found = self._find(sorted(wanted))
            with self._lock:
                self._sagas |= {saga_id: _Saga(known.name, known.started_at) for saga_id, known in found.items()}
                # In their order, those that came meanwhile last; of a saga that cannot be found, nothing is counted.
                drafts = self._unknown
                self._unknown = [d for d in drafts if not self._count_draft(d) and d.stream_id not in wanted]
        with self._lock:
            while len(self._sagas) > REMEMBERED:
                del self._sagas[next(iter(self._sagas))]
            sums, self._sums = self._sums, _Sums.none()
        self._tell(sums)

    def _sum_up(self, batch: WrittenBatch) -> None:
        events, is_whole = 0, True
        for prepared, receipt in zip(batch.drafts, batch.receipts, strict=True):
            if type(receipt) is Written:
                draft = prepared.draft
                events += len(prepared.rows)
                if draft.category == SAGA and not self._count_draft(draft):
                    self._unknown.append(draft)
            else:
                is_whole = False
        if events:
            self._sums.batches.append((batch.seconds, events))
        if not is_whole:
            for name, kind in (("append_conflicts", Conflict), ("appends_refused", Refused)):
                if times := sum(isinstance(receipt, kind) for receipt in batch.receipts):
                    self._sums.counts[name, ()] += times

    def _count_draft(self, draft: Draft) -> bool:
        """Count the events of a draft; False if its saga is not known."""
        if draft.stream_id in self._sagas:
            saga = self._sagas[draft.stream_id]
        else:
            first = draft.events[0]
            if not isinstance(first, e.SagaStarted):
                return False
            saga = self._sagas[draft.stream_id] = _Saga(first.saga, draft.recorded_at)
        for event in draft.events:  # of frequent events, a match or a call would cost more than all the rest
            if type(event) is e.StepStarted and event.attempt == 1:
                saga.actions[event.step] = draft.recorded_at
            elif type(event) is e.StepCompleted:
                if event.step in saga.actions:  # else it only waited, or began elsewhere
                    self._sums.completed[saga.name, event.step].append(draft.recorded_at - saga.actions[event.step])
                    del saga.actions[event.step]
            else:
                self._count_event(saga, event, draft)
        return True

    def _count_event(self, saga: _Saga, event: e.SagaEvent, draft: Draft) -> None:  # noqa: C901, PLR0912 (a table: one case a kind of event)
        match event:
            case e.SagaStarted(worker=worker, starts_at=starts_at):
                if worker is not None and starts_at is None:  # otherwise it begins later, perhaps elsewhere
                    self._add("sagas_started", saga.name)
            case e.SagaCompleted():
                self._sums.ends[saga.name, SagaStatus.COMPLETED].append((draft.recorded_at - saga.started_at, draft))
                self._sagas.pop(draft.stream_id, None)
            case e.SagaCompensated() | e.SagaFailed() | e.SagaResolved():
                self._saga_ended(saga, event, draft)
            case e.StepStarted(step, attempt):
                self._begin(saga, step, Direction.ACTION, attempt, draft)
            case e.CompensationStarted(step, attempt):
                self._begin(saga, step, Direction.COMPENSATION, attempt, draft)
            case e.CompensationCompleted(step):
                self._end(saga, step, Direction.COMPENSATION, "completed", draft)
                self._add("compensations", saga.name, step_of(step))
            case e.StepFailed(step, failure=failure):
                self._end(saga, step, Direction.ACTION, failure, draft)
            case e.CompensationFailed(step, failure=failure):
                self._end(saga, step, Direction.COMPENSATION, failure, draft)
            case e.SagaBegan():
                self._add("sagas_started", saga.name)
            case e.SagaTakenOver(_, previous):
                self._add("takeovers" if previous else "claims")
            case e.SagaAborted():
                self._add("sagas_aborted", saga.name)
            case e.SignalReceived():
                self._add("signals", saga.name)
            case _:
                self._count_command(event)

    def _add(self, name: str, *labels: str) -> None:
        self._sums.counts[name, labels] += 1

    def _tell(self, sums: _Sums) -> None:
        """Tell the series the sums."""
        self._series.observe_all("append_duration_seconds", [seconds for seconds, _ in sums.batches])
        self._series.observe_all("append_events", [events for _, events in sums.batches])
        for (name, labels), times in sums.counts.items():
            self._series.add(name, labels, times)
        of_steps: defaultdict[tuple[str, str, Direction], list[float]] = defaultdict(list)
        completed = {(*step, Direction.ACTION, "completed"): taken for step, taken in sums.completed.items()}
        for (saga, step, direction, outcome), taken in chain(completed.items(), sums.attempts.items()):
            labels = (saga, step_of(step), direction)
            self._series.add("step_attempts", (*labels, outcome), len(taken))
            of_steps[labels] += [max(0.0, one.total_seconds()) for one in taken]
        for labels, seconds in of_steps.items():
            self._series.observe_all("step_duration_seconds", seconds, labels)
        for of_sagas, ends in sums.ends.items():
            self._series.add("sagas_ended", of_sagas, len(ends))
            ends.sort(key=itemgetter(0))
            seconds = [max(0.0, one.total_seconds()) for one, _ in ends]
            drafts = [draft for _, draft in ends]
            self._series.observe_all("saga_duration_seconds", seconds, of_sagas, partial(_exemplar_of, drafts))

    def _saga_ended(self, saga: _Saga, event: e.SagaEvent, draft: Draft) -> None:
        self._sums.ends[saga.name, _end_of(event)].append((draft.recorded_at - saga.started_at, draft))
        if isinstance(event, e.SagaFailed) and _POISONED in event.reason:
            self._add("sagas_poisoned", saga.name)
        self._sagas.pop(draft.stream_id, None)
        self._count_command(event)

    def _count_command(self, event: e.SagaEvent) -> None:
        if command := _command_of(event):
            self._add("commands", command)

    def _begin(self, saga: _Saga, step: str, direction: Direction, attempt: int, draft: Draft) -> None:
        _intents(saga, direction)[step] = draft.recorded_at
        if attempt > 1:
            self._add("step_retries", saga.name, step_of(step), direction)

    def _end(self, saga: _Saga, step: str, direction: Direction, outcome: str, draft: Draft) -> None:
        began_at = _intents(saga, direction).pop(step, None)
        if began_at is not None:  # otherwise another worker began the attempt
            self._sums.attempts[saga.name, step, direction, outcome].append(draft.recorded_at - began_at)


def _intents(saga: _Saga, direction: Direction) -> dict[str, datetime]:
    return saga.actions if direction is Direction.ACTION else saga.compensations


def _exemplar_of(drafts: list[Draft], index: int) -> dict[str, str]:
    """Names the saga, and its trace if it has one: at most 111 of the 128 characters that OpenMetrics allows."""
    draft = drafts[index]
    exemplar = {"saga_id": draft.stream_id}
    return exemplar if draft.trace_id is None else {**exemplar, "trace_id": draft.trace_id}


_ENDS: dict[type[Any], SagaStatus] = {
    e.SagaCompensated: SagaStatus.COMPENSATED,
    e.SagaFailed: SagaStatus.FAILED,
}


def _end_of(event: e.SagaEvent) -> SagaStatus:
    return SagaStatus(event.status) if isinstance(event, e.SagaResolved) else _ENDS[type(event)]


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
