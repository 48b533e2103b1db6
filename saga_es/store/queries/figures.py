"""Figures of definitions: how many sagas ended how, how often each step failed, and how long it all took."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from saga_es.core.access import Scope
from saga_es.core.state import SagaStatus
from saga_es.store.database import Database
from saga_es.store.views.figures import LIMITS_MS, SLOT_S, STARTED, WHOLE, saga_figures, slot_of

Within = Literal["hour", "day", "week"]

SPANS: Mapping[Within, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}

OUTCOMES = ("completed", "retried", "failed", "undone", "undo_retried", "undo_failed")

FEWEST = 20
"""Durations from which percentiles are told; of fewer they say nothing."""


class Durations(msgspec.Struct, frozen=True):
    """How long something took, in seconds: half of it at most `p50`, and so on; None: it happened too seldom."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class StepFigures(msgspec.Struct, frozen=True):
    """The calls of one step that were answered.

    Attributes:
        completed: They succeeded, and `took` is how long they took.
        retried: They failed, and the step went on: with another attempt, or with a probe.
        failed: They failed, and the step was given up.
        undone: Its compensations that succeeded; `undo_retried` and `undo_failed` are those that failed.
    """

    step: str
    completed: int
    retried: int
    failed: int
    undone: int
    undo_retried: int
    undo_failed: int
    took: Durations

    @property
    def calls(self) -> int:
        """The calls of its action."""
        return self.completed + self.retried + self.failed


class SagaFigures(msgspec.Struct, frozen=True):
    """The sagas of one definition.

    Attributes:
        started: Those that were started; the others are those that ended.
        took: How long the sagas took that completed.
        steps: In the order of the plan.
    """

    name: str
    started: int
    completed: int
    compensated: int
    failed: int
    took: Durations
    steps: list[StepFigures] = []

    @property
    def ended(self) -> int:
        """The sagas that ended."""
        return self.completed + self.compensated + self.failed

    @property
    def success_rate(self) -> float | None:
        """The share of the sagas that ended which completed; None when none ended."""
        return self.completed / self.ended if self.ended else None


def since(within: Within, now: datetime) -> datetime:
    """The beginning of the first quarter of an hour that has a part of the span."""
    return datetime.fromtimestamp(slot_of(now - SPANS[within]) * SLOT_S, UTC)


def figures(
    database: Database,
    steps: Mapping[str, Collection[str]],
    begin: datetime,
    scope: Scope | None = None,
) -> list[SagaFigures]:
    """The figures of some definitions, in the order of their names.

    Args:
        database: The database.
        steps: The steps that are wanted, in their order, by the definition's name.
        begin: The beginning of a quarter of an hour, from which on is counted.
        scope: The sagas that the reader may see; of a reader who sees only its own, nothing was counted.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    if scope is not None and scope.by is not None:
        return []
    names = sorted(name for name in steps if scope is None or scope.sagas is None or name in scope.sagas)
    wanted = sorted({WHOLE, *(step for name in names for step in steps[name])})
    of_name: dict[str, dict[str, dict[str, Counter[int]]]] = {name: {} for name in names}
    for name, step, outcome, took, times in _rows(database, names, wanted, begin, scope):
        of_name[name].setdefault(step, defaultdict(Counter))[outcome][took] += int(times)
    return [_of_saga(name, of_name[name], steps[name]) for name in names]


def _rows(
    database: Database, names: list[str], steps: list[str], begin: datetime, scope: Scope | None
) -> Iterable[tuple[str, str, str, int, Any]]:
    columns = saga_figures.c
    shown = (columns.name, columns.step, columns.outcome, columns.took)
    query = (
        sa.select(*shown, sa.func.sum(columns.times))
        .where(columns.step.in_(steps), columns.name.in_(names), columns.slot >= slot_of(begin))
        .group_by(*shown)
    )
    if scope is not None:
        query = query.where(columns.tenant == scope.tenant)
    with database.reading() as connection:
        return [(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(query)]


def _of_saga(name: str, found: Mapping[str, Mapping[str, Counter[int]]], steps: Collection[str]) -> SagaFigures:
    whole = found.get(WHOLE, {})
    started, completed, compensated, failed = (
        _count(whole, outcome) for outcome in (STARTED, SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED)
    )
    took = durations(whole.get(SagaStatus.COMPLETED, {}))
    of_steps = [_of_step(step, found.get(step, {})) for step in steps]
    return SagaFigures(name, started, completed, compensated, failed, took, of_steps)


def _of_step(step: str, found: Mapping[str, Counter[int]]) -> StepFigures:
    counts = {outcome: _count(found, outcome) for outcome in OUTCOMES}
    return StepFigures(step=step, took=durations(found.get("completed", {})), **counts)


def _count(found: Mapping[str, Counter[int]], outcome: str) -> int:
    return sum(found.get(outcome, {}).values())


def durations(buckets: Mapping[int, int]) -> Durations:
    """The percentiles of durations, by the numbers of their buckets: within a bucket they are spread evenly in log."""
    if sum(buckets.values()) < FEWEST:
        return Durations()
    return Durations(*(_percentile(buckets, share) for share in (0.5, 0.95, 0.99)))


def _percentile(buckets: Mapping[int, int], share: float) -> float:
    numbers = sorted(buckets)
    rank = share * sum(buckets.values())
    sums = list(accumulate(buckets[number] for number in numbers))
    at = next((i for i, upto in enumerate(sums) if upto >= rank), len(sums) - 1)
    number, upto = numbers[at], sums[at]
    low = LIMITS_MS[number - 1] if number else 0.5
    high = LIMITS_MS[number] if number < len(LIMITS_MS) else low * 2
    part = 1 - (upto - rank) / buckets[number]
    return float(f"{low * math.pow(high / low, part) / 1000:.3g}")


def on_the_wire(found: SagaFigures) -> dict[str, Any]:
    """The figures as they are sent over the wire."""
    steps = [{**msgspec.structs.asdict(step), "calls": step.calls, "took": _sent(step.took)} for step in found.steps]
    more = {"success_rate": found.success_rate, "took": _sent(found.took), "steps": steps}
    return {**msgspec.structs.asdict(found), **more}


def _sent(took: Durations) -> dict[str, float | None]:
    return dict(msgspec.structs.asdict(took))
