"""The sagas that need a person: those that are FAILED, and those whose step has failed again and again for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.describe import short
from saga_es.core.state import UNFINISHED, SagaStatus
from saga_es.store.admin.amounts import lasting
from saga_es.store.database import Database
from saga_es.store.drivers.finding import Finding
from saga_es.store.log.entries import Recorded, Unreadable
from saga_es.store.log.log import Log
from saga_es.store.tables import saga_events
from saga_es.store.views.saga_view import sagas

SHOWN = 3
"""The sagas that are named, the oldest first; the commands show the others."""

LONG = timedelta(minutes=10)
"""A step that has failed for longer, and will be tried again, is worth a look: four tries by default take seconds."""

LOOKED_AT = 200
"""The most sagas whose events are read to see whether they still fail."""

_FAILURES = (e.StepFailed.__name__, e.CompensationFailed.__name__)


# ── FAILED ───────────────────────────────────────────────────────────────────────────────────────────────


def failed(database: Database, now: datetime) -> Iterator[Finding]:
    """How many sagas are FAILED, the oldest of them with their reasons, and what to do."""
    is_failed = sagas.c.status == SagaStatus.FAILED.value
    oldest = sa.select(sagas.c.saga_id, sagas.c.name, sagas.c.error, sagas.c.updated_at).where(is_failed)
    with database.reading() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(sagas).where(is_failed)) or 0
        rows = connection.execute(oldest.order_by(sagas.c.updated_at, sagas.c.saga_id).limit(SHOWN)).all()
    if not rows:
        yield Finding("failed sagas", "ok", "no saga is FAILED")
        return
    since = lasting((now - rows[0].updated_at).total_seconds())
    cure = "`saga-es list --status FAILED` shows them, `explain ID` says why; then `retry`, `skip` or `resolve`"
    yield Finding("failed sagas", "warning", f"{count} FAILED, the oldest for {since}: {cure}")
    for row in rows:
        ago = lasting((now - row.updated_at).total_seconds())
        why = short(row.error) or "no reason is recorded"
        yield Finding("failed sagas", "warning", f"{row.saga_id} ({row.name}), for {ago}: {why}")


# ── Retried for long ─────────────────────────────────────────────────────────────────────────────────────


class Failing(msgspec.Struct, frozen=True):
    """A step whose call fails and is tried again.

    Attributes:
        since: When the first attempt failed after which none succeeded.
        attempts: The attempts that failed since.
        error: The last failure.
    """

    step: str
    since: datetime
    attempts: int
    error: str


def retried(database: Database, log: Log, now: datetime) -> Iterator[Finding]:
    """The sagas whose step has failed for long and is tried again, with the last failure."""
    long_ago = now - LONG
    found = [
        (saga_id, name, failing)
        for saga_id, name, history in _suspects(database, log, long_ago)
        if (failing := _oldest(history)) is not None and failing.since <= long_ago
    ]
    if not found:
        yield Finding("retries", "ok", f"no step has been retried for more than {lasting(LONG.total_seconds())}")
        return
    found.sort(key=lambda one: one[2].since)
    cure = "`saga-es explain ID` says what it waits for; mend the participant, or `cancel`, `skip`, `replace-input`"
    many = f"{len(found)}{' or more' if len(found) == LOOKED_AT else ''} sagas"
    yield Finding("retries", "warning", f"{many} retry a step for more than {lasting(LONG.total_seconds())}: {cure}")
    for saga_id, name, failing in found[:SHOWN]:
        ago = lasting((now - failing.since).total_seconds())
        what = f"{failing.step!r} failed {failing.attempts} times in {ago}, at last: {short(failing.error)}"
        yield Finding("retries", "warning", f"{saga_id} ({name}): {what}")


def _suspects(
    database: Database, log: Log, long_ago: datetime
) -> Iterator[tuple[str, str, Sequence[Recorded | Unreadable]]]:
    """The unfinished sagas, not paused, that had a failure long ago; those with the oldest failures first."""
    goes_on = sagas.c.status.in_([status.value for status in sorted(UNFINISHED)]) & sagas.c.paused.is_(False)
    failed_long_ago = saga_events.c.type.in_(_FAILURES) & (saga_events.c.recorded_at <= long_ago)
    first = sa.func.min(saga_events.c.recorded_at)
    query = (
        sa.select(sagas.c.saga_id, sagas.c.name)
        .join(saga_events, saga_events.c.stream_id == sagas.c.saga_id)
        .where(goes_on, sagas.c.created_at <= long_ago, failed_long_ago)
        .group_by(sagas.c.saga_id, sagas.c.name)
        .order_by(first, sagas.c.saga_id)
        .limit(LOOKED_AT)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    for row in rows:  # one saga at a time: their payloads may be large
        entries = log.entries_of([row.saga_id]).get(row.saga_id, [])
        yield row.saga_id, row.name, log.decode_all(entries)


def _oldest(history: Sequence[Recorded | Unreadable]) -> Failing | None:
    """The step of a saga that has failed for longest and is tried again; None when no step is."""
    failing: dict[tuple[bool, str], Failing] = {}
    for entry in history:
        if isinstance(entry, Recorded):
            _take_up(failing, entry)
    return min(failing.values(), key=lambda one: one.since, default=None)


def _take_up(failing: dict[tuple[bool, str], Failing], entry: Recorded) -> None:
    """Take up an event; actions and compensations of a step fail apart."""
    event = entry.event
    match event:
        case e.StepFailed(step, error=error) | e.CompensationFailed(step, error=error):
            key = isinstance(event, e.CompensationFailed), step
            before = failing.pop(key, Failing(step, entry.recorded_at, 0, error))
            if event.retry_at is not None:
                failing[key] = Failing(step, before.since, before.attempts + 1, error)
        case e.StepCompleted(step) | e.StepSkipped(step) | e.ProbeAnswered(step, happened=True):
            failing.pop((False, step), None)
        case e.CompensationCompleted(step) | e.CompensationSkipped(step):
            failing.pop((True, step), None)
        case e.SagaAborted() | e.SagaCancelled() | e.SagaReopened() | e.SagaMigrated():
            failing.clear()
        case _:
            pass
