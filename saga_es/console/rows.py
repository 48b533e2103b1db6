"""The rows of the list of sagas: what each is doing, in one sentence, from the fold of its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.core.access import Scope
from saga_es.core.explain import Known, explain
from saga_es.core.plan import step_of
from saga_es.core.state import SagaState, SagaStatus, StepStatus
from saga_es.errors import UnreadableEvent
from saga_es.node.node import Node
from saga_es.store.log.entries import Recorded
from saga_es.store.queries.explain import workers_of
from saga_es.store.queries.filters import seen_by
from saga_es.store.queries.pages import Condition
from saga_es.store.views.saga_view import NOT_BY_ITSELF, sagas

MOST_EVENTS = 300
"""A saga with more events is shown from the view alone: a page must not fold long logs."""

MOST_COUNTED = 10_000
"""Sagas of one status that a page counts; more are shown as "10,000+"."""


class Row(msgspec.Struct, frozen=True):
    """One saga in the list.

    Attributes:
        conditions: What stands beside the status: paused, retrying, waiting, stuck.
        steps: The state of each step, as names of icons; empty when the saga was not folded.
        sentence: What is happening, or what has happened.
        attempts: Calls of all steps; None when the saga was not folded.
    """

    saga_id: str
    name: str
    status: str
    conditions: list[str]
    steps: list[str]
    sentence: str
    attempts: int | None
    created_at: datetime
    took_s: float | None
    tags: Mapping[str, str]


def rows_of(node: Node, found: Sequence[Mapping[str, Any]], now: datetime) -> list[Row]:
    """The rows of a page of the view `sagas`."""
    ids = [row["saga_id"] for row in found]
    sizes = node.store.log.versions_of(ids) if ids else {}
    short = [id_ for id_ in ids if sizes.get(id_, 0) <= MOST_EVENTS]
    streams = node.store.log.entries_of(short)
    owners = {row["owner"] for row in found if row["owner"] and row["status"] not in _ENDED}
    workers = workers_of(node.database, owners, node.settings.lease_s)
    rows = []
    for row in found:
        try:
            history = [node.store.log.decode(entry) for entry in streams.get(row["saga_id"], ())]
            state = node.store.sagas.folded(history)
        except UnreadableEvent:
            state = None
        known = Known(owner=workers.get(row["owner"] or ""))
        rows.append(_of_view(row, now) if state is None else _of_fold(row, state, history, known, now))
    return rows


_ENDED = {SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED}


def _of_view(row: Mapping[str, Any], now: datetime) -> Row:
    what = row["error"] or (f"step {row['current_step']}" if row["current_step"] else "")
    conditions = _conditions_of_view(row)
    return Row(
        *(row["saga_id"], row["name"], row["status"], conditions, [], what, None, row["created_at"]),
        took_s=_took_s(row["created_at"], row["updated_at"], row["status"], now),
        tags={},
    )


def _conditions_of_view(row: Mapping[str, Any]) -> list[str]:
    """What the view tells alone: a delay counts as a retry, for both have a time at which the saga goes on."""
    if row["paused"]:
        return ["paused"]
    if row["status"] in _ENDED or row["wakes_at"] is None:
        return []
    return ["waiting" if row["wakes_at"] >= NOT_BY_ITSELF else "retrying"]


def _of_fold(row: Mapping[str, Any], state: SagaState, history: Sequence[Recorded], known: Known, now: datetime) -> Row:
    past = [(recorded.recorded_at, recorded.event) for recorded in history]
    reason = explain(state, past, known, now).reasons[0]
    if state.status in {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}:
        reason = reason.partition(": ")[2] or reason
    elif state.status is SagaStatus.FAILED:
        reason = state.error or reason
    return Row(
        saga_id=state.saga_id,
        name=state.plan.saga,
        status=state.status,
        conditions=conditions_of(state, known),
        steps=strip(state),
        sentence=reason[:1].upper() + reason[1:],
        attempts=sum(step.attempts + step.compensation_attempts for step in state.steps.values()),
        created_at=row["created_at"],
        took_s=_took_s(row["created_at"], past[-1][0], state.status, now),
        tags=state.tags,
    )


def _took_s(begin: datetime, last: datetime, status: str, now: datetime) -> float | None:
    if status == SagaStatus.PENDING:
        return None
    return max(0.0, ((last if status in _ENDED else now) - begin).total_seconds())


def conditions_of(state: SagaState, known: Known) -> list[str]:
    """What is shown beside a saga's status, as names of icons."""
    if state.status.ended:
        return []
    owner = known.owner
    is_orphan = owner is None or owner.silent_s is None or owner.is_gone or owner.silent_s > owner.lease_s
    found = {
        "stuck": is_orphan and state.status is not SagaStatus.PENDING,
        "paused": state.paused is not None,
        "retrying": any(step.waiting for step in state.steps.values()),
        "waiting": any(step.wait for step in state.steps.values()),
    }
    return [name for name, holds in found.items() if holds]


_ICONS = {
    StepStatus.PENDING: "pending",
    StepStatus.IN_PROGRESS: "progress",
    StepStatus.COMPLETED: "ok",
    StepStatus.SKIPPED: "skipped",
    StepStatus.FAILED: "failed",
    StepStatus.COMPENSATING: "undoing",
    StepStatus.COMPENSATED: "undone",
}


def strip(state: SagaState) -> list[str]:
    """The state of each step of the plan, as names of icons."""
    return [_strip_of(state, step.name) for step in state.plan.steps]


def _strip_of(state: SagaState, name: str) -> str:
    parts = [(key, step) for key, step in state.steps.items() if step_of(key) == name]
    found = {
        "failed" if step.stuck else "retry" if step.waiting else "wait" if step.wait else _ICONS[step.status]
        for _, step in parts
    }
    if state.is_done(name) and not found & {"undoing", "undone", "failed", "retry"}:
        return "skipped" if found == {"skipped"} else "ok"
    return next((icon for icon in _BY_NEED if icon in found), "pending")


_BY_NEED = ("failed", "retry", "wait", "undoing", "progress", "undone", "ok", "skipped")


def counts(connection: Connection, scope: Scope | None = None, *more: Condition) -> dict[str, int]:
    """How many sagas of a scope have each status, each counted up to `MOST_COUNTED` through its index."""
    found = {}
    for status in SagaStatus:
        some = (
            sa.select(sagas.c.saga_id)
            .where(sagas.c.status == status.value, *seen_by(scope), *more)
            .limit(MOST_COUNTED)
            .subquery()
        )
        found[status.value] = connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    return found
