"""The view `sagas`: one row per saga, for lists, and for finding sagas that no worker runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import View


def _few(name: str, column: str, which: str) -> sa.Index:
    # SQLite uses such an index only when the query's condition has the very same words.
    words = which.replace("true", "1")
    return sa.Index(name, column, "created_at", "saga_id", sqlite_where=sa.text(words), postgresql_where=sa.text(which))


NOT_BY_ITSELF = datetime(9999, 12, 31, tzinfo=UTC)
"""`wakes_at` of a saga that waits for a signal or a person, however long."""

sagas = sa.Table(
    "sagas",
    sa.MetaData(),
    sa.Column("saga_id", key_text(64), primary_key=True),
    sa.Column("name", key_text(255), nullable=False),
    sa.Column("plan_id", key_text(64), nullable=False),
    sa.Column("status", key_text(16), nullable=False),
    sa.Column("owner", key_text(64), comment="the worker that runs it"),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("parent", key_text(64), comment="the saga that this one is a step of"),
    sa.Column("current_step", key_text(255)),
    sa.Column("error", sa.Text),
    sa.Column("has_error", sa.Boolean, nullable=False, comment="so that an index finds those that have one"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("wakes_at", UtcDateTime, comment="when it goes on if it only waits; empty: it may go on now"),
    sa.Column("deadline_at", UtcDateTime, comment="when it aborts"),
    # Lists are read newest first by (created_at, saga_id), whole or by the most frequent filters; none of them sorts.
    sa.Index("sagas_newest", "created_at", "saga_id"),
    sa.Index("sagas_by_status", "status", "created_at", "saga_id"),
    sa.Index("sagas_by_name", "name", "created_at", "saga_id"),
    sa.Index("sagas_by_name_and_status", "name", "status", "created_at", "saga_id"),
    # Few sagas are in these indexes; a database with partial indexes keeps those rows alone. MySQL keeps all.
    _few("sagas_by_parent", "parent", "parent IS NOT NULL"),
    _few("sagas_paused", "paused", "paused = true"),
    _few("sagas_with_error", "has_error", "has_error = true"),
)


def _change(recorded: Recorded) -> dict[str, Any]:  # noqa: C901, PLR0912 (a table: one case an event)
    event: e.SagaEvent = recorded.event
    columns: dict[str, Any] = {}
    match event:
        case e.StepCompleted():  # the most frequent event comes first: a replay runs this for each event
            pass
        case e.StepStarted(step) | e.CompensationStarted(step) | e.ChildStarted(step):
            columns = {"current_step": step, "wakes_at": None}
        case e.WaitStarted(step, until):
            columns = {"current_step": step, "wakes_at": until or NOT_BY_ITSELF}
        case e.StepFailed(retry_at=retry_at) | e.CompensationFailed(retry_at=retry_at):
            columns = {"wakes_at": retry_at}
        case e.SagaStarted():
            columns = _started(event, recorded.recorded_at)
        case e.SagaTakenOver(worker):
            columns = {"owner": worker}
        case e.SagaReleased():
            columns = {"owner": None, "wakes_at": None}
        case e.SagaBegan():
            columns = {"status": SagaStatus.IN_PROGRESS}
        case e.SagaAborted(_, error):
            columns = {"status": SagaStatus.COMPENSATING, "error": error, "wakes_at": None}
        case e.SagaCancelled(actor, reason):
            error = f"cancelled by {actor}: {reason}"
            columns = {"status": SagaStatus.COMPENSATING, "error": error, "paused": False, "wakes_at": None}
        case e.SagaPaused():
            columns = {"paused": True, "wakes_at": NOT_BY_ITSELF}
        case e.SagaResumed():
            columns = {"paused": False, "wakes_at": None}
        case e.SagaMigrated(plan_id, plan, current=current):
            columns = {"name": plan.saga, "plan_id": plan_id, "current_step": current, "wakes_at": None}
        case e.SagaReopened(status, error=error):
            columns = {"status": SagaStatus(status), "owner": None, "paused": False, "error": error, "wakes_at": None}
        case e.SagaCompleted():
            columns = {"status": SagaStatus.COMPLETED, "current_step": None}
        case e.SagaCompensated():
            columns = {"status": SagaStatus.COMPENSATED, "current_step": None}
        case e.SagaResolved(status):
            columns = {"status": SagaStatus(status), "paused": False}
        case e.SagaFailed(reason):
            columns = {"status": SagaStatus.FAILED, "error": reason}
        case e.SignalReceived() | e.RetryOrdered():
            columns = {"wakes_at": None}
        case (
            e.StepSkipped()
            | e.StepFannedOut()
            | e.StepProgressed()
            | e.ProbeStarted()
            | e.ProbeAnswered()
            | e.CompensationCompleted()
            | e.CompensationSkipped()
            | e.InputReplaced()
        ):
            pass
        case _:
            assert_never(event)
    if "error" in columns:
        columns["has_error"] = columns["error"] is not None
    columns["updated_at"] = recorded.recorded_at
    return columns


def _started(started: e.SagaStarted, at: datetime) -> dict[str, Any]:
    begins = started.worker is not None and started.starts_at is None
    return {
        "name": started.saga,
        "plan_id": started.plan_id,
        "status": SagaStatus.IN_PROGRESS if begins else SagaStatus.PENDING,
        "owner": started.worker,
        "paused": False,
        "parent": started.parent,
        "current_step": None,
        "error": None,
        "created_at": at,
        "wakes_at": started.starts_at,
        "deadline_at": started.deadline_at,
    }


saga_view = View(sagas, SAGA, _change)


def is_due(row: Mapping[str, Any], now: datetime) -> bool:
    """Whether the saga of a row may go on at this time; of several steps at once, the last that moved decides."""
    wakes_at, deadline_at = row["wakes_at"], row["deadline_at"]
    return wakes_at is None or wakes_at <= now or (deadline_at is not None and deadline_at <= now)


def summary(row: Mapping[str, Any], waits_for: str | None = None) -> dict[str, Any]:
    """A row of the view `sagas` as it is sent over the wire; `waits_for` is there if it waits for code."""
    waits = {} if waits_for is None else {"waits_for": waits_for}
    return waits | {
        "transaction_id": row["saga_id"],
        "name": row["name"],
        "status": row["status"],
        "paused": row["paused"],
        "parent": row["parent"],
        "current_step": row["current_step"],
        "error": row["error"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
