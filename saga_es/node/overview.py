"""What is at work on one database: workers, views, publishers, the last verification, and the last hour's sagas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from saga_es.core.state import UNFINISHED
from saga_es.definition.code import decoded
from saga_es.node.definitions import definitions
from saga_es.node.node import Node
from saga_es.store.process import Process
from saga_es.store.publishers import publishers
from saga_es.store.queries.figures import SPANS, Durations, SagaFigures, since
from saga_es.store.tables import saga_workers
from saga_es.store.verdicts import last
from saga_es.store.views import checkpoints
from saga_es.store.views.kinds import Views
from saga_es.store.views.saga_view import sagas
from saga_es.store.workers import database_now

MOST_COUNTED = 10_000
"""Unfinished sagas whose owners are counted."""


class Worker(msgspec.Struct, frozen=True):
    """One worker that has a row.

    Attributes:
        host: The machine.
        is_alive: Whether its heartbeat is fresh, and its process has not ended.
        silent_s: Seconds since its heartbeat.
        sagas: The unfinished sagas that it owns.
        definitions: How many definitions it can run; None: it does not say.
        in_flight: Its calls that have not returned; None: another process knows.
        sagas_at_once: How many sagas it runs at once; None: another process knows.
        call_threads: How many calls it makes at once; None: another process knows.
    """

    worker_id: str
    host: str
    pid: int
    is_here: bool
    is_alive: bool
    silent_s: float
    sagas: int
    definitions: int | None
    in_flight: int | None = None
    sagas_at_once: int | None = None
    call_threads: int | None = None


class ViewState(msgspec.Struct, frozen=True):
    """One view.

    Attributes:
        lag: Positions of the log that it lacks; None: it is behind since an event that it refused.
        trouble: Why it is behind, or stands still; None: it is neither.
    """

    name: str
    kind: Literal["inline", "asynchronous"]
    lag: int | None
    trouble: str | None


class PublisherState(msgspec.Struct, frozen=True):
    """One publisher: positions that it has not told, its process, and why the last delivery failed."""

    name: str
    lag: int
    holder: str | None
    error: str | None


class Verified(msgspec.Struct, frozen=True):
    """The last whole verification."""

    differences: int
    at: datetime


class Throughput(msgspec.Struct, frozen=True):
    """The sagas of all definitions since a quarter of an hour.

    Attributes:
        per_minute: The sagas that ended, a minute.
        slowest: Of the definitions, the longest p50, p95 and p99 of completed sagas.
    """

    since: datetime
    started: int
    ended: int
    completed: int
    per_minute: float
    slowest: Durations


class Overview(msgspec.Struct, frozen=True):
    """What is at work; `are_all_counted` says whether each worker's sagas were counted to the last."""

    position: int
    workers: list[Worker]
    are_all_counted: bool
    views: list[ViewState]
    publishers: list[PublisherState]
    verified: Verified | None
    last_hour: Throughput


def overview(node: Node) -> Overview:
    """Look at the whole database.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    position = node.store.log.last_position()
    with node.database.reading() as connection:
        owned, are_all_counted = _owned(connection)
        workers = _workers(connection, node, owned)
        views = _views(connection, node.views, position)
        found = [PublisherState(row.name, row.lag, row.held.holder, row.held.error) for row in publishers(connection)]
        verdict = last(connection)
    verified = verdict and Verified(verdict[0].differences, datetime.fromtimestamp(verdict[0].at, UTC))
    return Overview(position, workers, are_all_counted, views, found, verified, _last_hour(node))


def _owned(connection: sa.Connection) -> tuple[dict[str, int], bool]:
    some = (
        sa.select(sagas.c.owner)
        .where(sagas.c.status.in_([status.value for status in sorted(UNFINISHED)]))
        .limit(MOST_COUNTED)
        .subquery()
    )
    rows = connection.execute(sa.select(some.c.owner, sa.func.count()).group_by(some.c.owner)).all()
    return {row[0]: row[1] for row in rows if row[0] is not None}, sum(row[1] for row in rows) < MOST_COUNTED


def _workers(connection: sa.Connection, node: Node, owned: dict[str, int]) -> list[Worker]:
    silent = (database_now() - saga_workers.c.heartbeat_at).label("silent_s")
    rows = connection.execute(sa.select(saga_workers, silent).order_by(saga_workers.c.worker_id)).all()
    return [_worker(row, node, owned.get(row.worker_id, 0)) for row in rows]


def _worker(row: sa.Row[Any], node: Node, owned: int) -> Worker:
    process = Process(row.host, row.pid, row.pid_started)
    is_here = row.worker_id == node.engine.worker_id
    return Worker(
        row.worker_id,
        row.host.partition("/")[0],
        row.pid,
        is_here=is_here,
        is_alive=row.silent_s <= node.settings.lease_s and not process.is_gone(),
        silent_s=max(0.0, round(row.silent_s, 1)),
        sagas=owned,
        definitions=None if row.code is None else len(decoded(row.code)),
        in_flight=node.engine.in_flight if is_here else None,
        sagas_at_once=node.settings.sagas_at_once if is_here else None,
        call_threads=node.settings.call_threads if is_here else None,
    )


def _views(connection: sa.Connection, views: Views, position: int) -> list[ViewState]:
    following, behind = checkpoints.read(connection), checkpoints.behind(connection)
    found = []
    for view in views:
        name = str(view.name)
        if view.follows:
            checkpoint = following.get(name)
            failed = checkpoint.pending.failed if checkpoint else None
            lag = max(0, position - checkpoint.position) if checkpoint else None
            found.append(ViewState(name, "asynchronous", lag, _trouble(failed)))
        else:
            failed = behind[name].pending.behind if name in behind else None
            found.append(ViewState(name, "inline", None if failed else 0, _trouble(failed)))
    return found


def _trouble(failed: checkpoints.Failed | None) -> str | None:
    if failed is None:
        return None
    return f"position {failed.position}, {failed.type} of stream {failed.stream_id!r}: {failed.error}"


def _last_hour(node: Node) -> Throughput:
    now = datetime.now(UTC)
    begin = since("hour", now)
    found = [one.figures for one in definitions(node, None, begin) if one.figures is not None]
    ended = sum(one.ended for one in found)
    minutes = max(SPANS["hour"], now - begin).total_seconds() / 60
    slowest = Durations(*(max((one for one in ones if one is not None), default=None) for ones in _told(found)))
    started, completed = sum(one.started for one in found), sum(one.completed for one in found)
    return Throughput(begin, started, ended, completed, round(ended / minutes, 1), slowest)


def _told(found: list[SagaFigures]) -> list[list[float | None]]:
    return [[getattr(one.took, name) for one in found] for name in ("p50", "p95", "p99")]
