"""The view `saga_figures`: how often sagas, and each of their steps, ended how, and how long that took.

A duration lies between two events of a saga. So the view is told what came before: it remembers the sagas under way,
and what it has forgotten, or another process took up, is read again from the log. What it counts depends on the log
alone. It follows the log: an append neither writes it nor waits for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.plan import step_of
from saga_es.core.state import SagaStatus
from saga_es.store.drivers.columns import key_text
from saga_es.store.drivers.driver import Driver
from saga_es.store.drivers.writes import Write
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded, by_stream
from saga_es.store.views.kinds import Projection
from saga_es.store.views.statements import adding

SLOT_S = 900
"""Seconds that one row sums up: a quarter of an hour."""

LIMITS_MS = (1, *(round(2 ** (i / 2)) for i in range(2, 64)))
"""The upper limits of the buckets of durations, in milliseconds: two a doubling, up to 35 days. What takes as long as
a limit, or longer, is in the next bucket; the last bucket has no limit. They never change: rows have their numbers."""

MOST_SAGAS, MOST_INTENTS = 4_000, 40_000
"""Sagas under way that are remembered, and what began in them; the log has the others."""

WHOLE = ""
"""Stands in the place of a step where the whole saga is meant."""

STARTED = "STARTED"
"""The outcome of a saga that was started. Its others are the statuses with which a saga ends."""

saga_figures = sa.Table(
    "saga_figures",
    sa.MetaData(),
    sa.Column("step", key_text(255), primary_key=True, comment="empty: the whole saga"),
    sa.Column("name", key_text(255), primary_key=True, comment="the definition"),
    sa.Column("slot", sa.Integer, primary_key=True, comment="quarters of an hour since 1970"),
    sa.Column("outcome", key_text(16), primary_key=True),
    sa.Column("took", sa.Integer, primary_key=True, comment="the bucket of the duration"),
    sa.Column("tenant", key_text(200), primary_key=True),
    sa.Column("times", sa.BigInteger, nullable=False),
)

Key = tuple[str, str, int, str, int, str]


class _Saga(msgspec.Struct):
    """A saga under way, as its events up to a version tell.

    Attributes:
        begun: When the newest action, wait or child of a step or element began, and its newest compensation.
        has_ended: Whether its newest event ended it.
    """

    name: str
    tenant: str
    started_at: datetime
    version: int
    begun: dict[tuple[str, Direction], datetime] = {}
    has_ended: bool = False


@dataclass(frozen=True)
class Figures(Projection):
    """Counts by definition, step, quarter of an hour, outcome and duration.

    Each object remembers sagas: one is for one database.
    """

    look_every_s = 1.0
    rest_s = 0.02
    keeps_archived = True
    reminded_by = ("SagaStarted", "SagaMigrated", "StepStarted", "CompensationStarted", "ChildStarted", "WaitStarted")

    _sagas: OrderedDict[str, _Saga] = field(default_factory=OrderedDict, init=False, repr=False, compare=False)

    def lacks(self, events: Sequence[Recorded]) -> Mapping[str, int]:
        """Sagas that go on with these events from another version than the one that is remembered."""
        firsts = {stream_id: its_events[0] for stream_id, its_events in by_stream(events).items()}
        return {id_: first.version for id_, first in firsts.items() if first.version > 1 and not self._knows(first)}

    def remind(self, events: Sequence[Recorded], version: int) -> None:
        """Remember a saga as its earlier events tell; outcomes are not needed, for no outcome ends an intent here."""
        sums: Counter[Key] = Counter()
        for event in events:
            self._count(event, sums)
        if events and events[0].stream_id in self._sagas:
            self._sagas[events[0].stream_id].version = version - 1

    def writes(self, events: Sequence[Recorded], driver: Driver) -> list[Write]:
        """Each row is written once, in the order of keys, so that concurrent transactions do not deadlock."""
        sums: Counter[Key] = Counter()
        for stream_id, its_events in by_stream(events).items():
            if its_events[0].version > 1 and not self._knows(its_events[0]):
                self._sagas.pop(stream_id, None)  # its beginning is not in the log any more
            for event in its_events:
                self._count(event, sums)
            if (saga := self._sagas.pop(stream_id, None)) is not None and not saga.has_ended:
                self._sagas[stream_id] = saga  # the last to be forgotten
        self._forget()
        columns = [column.name for column in self.table.columns]
        rows = [dict(zip(columns, (*key, sums[key]), strict=True)) for key in sorted(sums)]
        return [(adding(self.table, driver), rows)] if rows else []

    def _knows(self, event: Recorded) -> bool:
        saga = self._sagas.get(event.stream_id)
        return saga is not None and saga.version == event.version - 1

    def _forget(self) -> None:
        intents = sum([len(saga.begun) for saga in self._sagas.values()])
        while len(self._sagas) > MOST_SAGAS or intents > MOST_INTENTS:
            intents -= len(self._sagas.popitem(last=False)[1].begun)

    def _count(self, recorded: Recorded, sums: Counter[Key]) -> None:
        """Add an event to the rows, and remember of it what others will need."""
        event, at = recorded.event, recorded.recorded_at
        if type(event) is e.SagaStarted:
            tenant = "" if event.by is None else event.by.tenant
            saga = _Saga(event.saga, tenant, event.starts_at or at, recorded.version)
            self._sagas[recorded.stream_id] = saga
            sums[_key(saga, WHOLE, STARTED, at, 0)] += 1
        elif (known := self._sagas.get(recorded.stream_id)) is not None:
            known.version = recorded.version
            known.has_ended = False
            if type(event) is e.StepStarted:  # the most frequent events come first: this runs for each event
                known.begun[event.step, Direction.ACTION] = at
            elif type(event) is e.StepCompleted:
                _add(known, sums, event.step, Direction.ACTION, "completed", at)
            else:
                _count_seldom(known, event, at, sums)


def _count_seldom(saga: _Saga, event: e.SagaEvent, at: datetime, sums: Counter[Key]) -> None:  # noqa: C901 (a table: one case an event)
    match event:
        case e.ChildStarted(step) | e.WaitStarted(step):
            saga.begun[step, Direction.ACTION] = at
        case e.CompensationStarted(step):
            saga.begun[step, Direction.COMPENSATION] = at
        case e.SagaMigrated(plan=plan, renamed=renamed):
            saga.name = plan.saga
            saga.begun = {(_present(name, renamed), way): then for (name, way), then in saga.begun.items()}
        case e.ProbeAnswered(step, happened=True):
            _add(saga, sums, step, Direction.ACTION, "completed", at)
        case e.StepFailed(step, retry_at=retry_at):
            _add(saga, sums, step, Direction.ACTION, "failed" if retry_at is None else "retried", at)
        case e.CompensationCompleted(step):
            _add(saga, sums, step, Direction.COMPENSATION, "undone", at)
        case e.CompensationFailed(step, retry_at=retry_at):
            _add(saga, sums, step, Direction.COMPENSATION, "undo_failed" if retry_at is None else "undo_retried", at)
        case e.SagaCompleted():
            _end(saga, sums, SagaStatus.COMPLETED, at)
        case e.SagaCompensated():
            _end(saga, sums, SagaStatus.COMPENSATED, at)
        case e.SagaFailed():
            _end(saga, sums, SagaStatus.FAILED, at)
        case e.SagaResolved(status):
            _end(saga, sums, status, at)
        case _:
            pass


def _add(saga: _Saga, sums: Counter[Key], step: str, way: Direction, outcome: str, at: datetime) -> None:
    if (began_at := saga.begun.get((step, way))) is not None:
        sums[_key(saga, step_of(step), outcome, at, bucket(began_at, at))] += 1


def _end(saga: _Saga, sums: Counter[Key], status: str, at: datetime) -> None:
    saga.has_ended = True
    sums[_key(saga, WHOLE, str(status), at, bucket(saga.started_at, at))] += 1


def _present(name: str, renamed: Mapping[str, str]) -> str:
    step = step_of(name)
    return renamed.get(step, step) + name[len(step) :]


def bucket(begin: datetime, end: datetime) -> int:
    """The number of the bucket of a duration."""
    taken = end - begin
    return bisect_right(LIMITS_MS, (taken.days * 86_400 + taken.seconds) * 1000 + taken.microseconds // 1000)


def slot_of(at: datetime) -> int:
    """The number of the quarter of an hour in which a moment lies."""
    return int(at.timestamp()) // SLOT_S


def _key(saga: _Saga, step: str, outcome: str, at: datetime, took: int) -> Key:
    return (step, saga.name, slot_of(at), outcome, took, saga.tenant)


def figures_view() -> Figures:
    """The view, for one database."""
    return Figures(saga_figures, SAGA, follows=True)
