"""Gauges from the database: open sagas, workers, and how far behind the log each view is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection

from saga_es.core.state import UNFINISHED, SagaStatus
from saga_es.errors import StoreUnavailable
from saga_es.metrics.series import PREFIX
from saga_es.store.database import Database
from saga_es.store.publishers import publishers
from saga_es.store.tables import saga_events, saga_workers
from saga_es.store.verdicts import last
from saga_es.store.views import checkpoints
from saga_es.store.views.saga_view import sagas
from saga_es.store.workers import database_now

KEPT_S = 5.0
"""How long an answer of the database is served again: several scrapers, or impatient ones, cost one look."""

GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "open_sagas": ("Sagas that have not ended, and FAILED ones, which a person has to look at.", ("saga", "status")),
    "oldest_open_saga_age_seconds": ("Seconds since the start of the oldest saga that has not ended.", ()),
    "waiting_sagas": ("Unfinished sagas that no living worker owns.", ("saga",)),
    "sagas_waiting_for_code": ("Unfinished sagas that wait for code that no living worker has.", ("saga",)),
    "workers_alive": ("Workers whose heartbeat is fresh.", ()),
    "log_position": ("The newest position of the log.", ()),
    "view_lag_events": ("Positions of the log that a view has not read yet.", ("view",)),
    "publisher_lag_events": ("Positions of the log that a publisher has not told yet.", ("target",)),
    "publisher_failing": ("Whether the last delivery of a publisher failed.", ("target",)),
    "view_stands_still": ("Whether a view fails at an event.", ("view",)),
    "verify_differences": ("Differences that the last whole `saga-es verify` found.", ()),
    "verify_age_seconds": ("Seconds since it ended.", ()),
    "database_up": ("Whether the database answered the last look.", ()),
}

Values = dict[str, list[tuple[tuple[str, ...], float]]]


class DatabaseGauges(Collector):
    """Collects what the database says. Safe to use from any thread; one look is taken at a time.

    Args:
        lease_s: Seconds without a heartbeat after which a worker counts as gone.
        views: The names of all views: one that is kept in the transaction that appends is behind only after it failed.
        waiting: Counts the sagas that wait for code, by definition.
    """

    def __init__(
        self, database: Database, lease_s: float, views: Sequence[str], waiting: Callable[[], Mapping[str, int]]
    ) -> None:
        self._database = database
        self._lease_s = lease_s
        self._views = views
        self._waiting = waiting
        self._lock = threading.Lock()
        self._values: Values = {}
        self._taken_at = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """The gauges; while the database is away, `database_up` alone, with 0."""
        for name, samples in self._fresh().items():
            words, labels = GAUGES[name]
            family = GaugeMetricFamily(f"{PREFIX}_{name}", words, labels=labels)
            for values, number in samples:
                family.add_metric(values, number)
            yield family

    def _fresh(self) -> Values:
        with self._lock:
            if time.monotonic() - self._taken_at >= KEPT_S:
                self._values = self._look()
                self._taken_at = time.monotonic()
            return self._values

    def _look(self) -> Values:
        try:
            with self._database.reading() as connection:
                found = {
                    **_sagas(connection),
                    **_workers(connection, self._lease_s),
                    **_behind(connection, self._views),
                    **_publishers(connection),
                    **_verdict(connection),
                }
            waiting = sorted(self._waiting().items())
            found["sagas_waiting_for_code"] = [((name,), number) for name, number in waiting]
        except (StoreUnavailable, sa.exc.DBAPIError):  # also before the first migration
            return {"database_up": [((), 0)]}
        return {**found, "database_up": [((), 1)]}


def _sagas(connection: Connection) -> Values:
    looked_at = [*sorted(UNFINISHED), SagaStatus.FAILED]
    living = sa.select(saga_workers.c.worker_id)
    waits = sa.and_(sagas.c.status != SagaStatus.FAILED, sa.or_(sagas.c.owner.is_(None), sagas.c.owner.not_in(living)))
    oldest = sa.func.min(sa.case((sagas.c.status != SagaStatus.FAILED, sagas.c.created_at)))
    query = (
        sa.select(
            sagas.c.name,
            sagas.c.status,
            sa.func.count().label("number"),
            sa.func.sum(sa.case((waits, 1), else_=0)).label("waiting"),
            oldest.label("oldest"),
        )
        .where(sagas.c.status.in_([status.value for status in looked_at]))
        .group_by(sagas.c.name, sagas.c.status)
    )
    rows = connection.execute(query).all()
    now_s = connection.execute(sa.select(database_now())).scalar_one()
    starts = [row.oldest for row in rows if row.oldest is not None]
    waiting: dict[str, float] = {}
    for row in rows:
        if row.status != SagaStatus.FAILED:
            waiting[row.name] = waiting.get(row.name, 0) + int(row.waiting)
    return {
        "open_sagas": [((row.name, row.status), row.number) for row in rows],
        "oldest_open_saga_age_seconds": [((), max(0.0, now_s - min(starts).timestamp()) if starts else 0.0)],
        "waiting_sagas": [((name,), number) for name, number in sorted(waiting.items())],
    }


def _workers(connection: Connection, lease_s: float) -> Values:
    fresh = saga_workers.c.heartbeat_at >= database_now() - lease_s
    alive: Any = connection.execute(sa.select(sa.func.count()).select_from(saga_workers).where(fresh)).scalar_one()
    return {"workers_alive": [((), alive)]}


def _behind(connection: Connection, views: Sequence[str]) -> Values:
    last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(saga_events.c.position), 0))).scalar_one()
    asynchronous, inline = checkpoints.read(connection), checkpoints.behind(connection)
    found = asynchronous | inline
    lags = dict.fromkeys(views, 0) | {name: max(0, last - view.position) for name, view in found.items()}
    still = dict.fromkeys(views, 0) | {
        name: name in inline or view.pending.failed is not None for name, view in found.items()
    }
    return {
        "log_position": [((), last)],
        "view_lag_events": [((name,), lag) for name, lag in sorted(lags.items())],
        "view_stands_still": [((name,), stands) for name, stands in sorted(still.items())],
    }


def _publishers(connection: Connection) -> Values:
    found = publishers(connection)
    return {
        "publisher_lag_events": [((publisher.name,), publisher.lag) for publisher in found],
        "publisher_failing": [((publisher.name,), publisher.held.error is not None) for publisher in found],
    }


def _verdict(connection: Connection) -> Values:
    """What the last verification found; nothing when there was none."""
    found = last(connection)
    if found is None:
        return {}
    verdict, age_s = found
    return {"verify_differences": [((), verdict.differences)], "verify_age_seconds": [((), age_s)]}
