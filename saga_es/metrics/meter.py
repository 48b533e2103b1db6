"""The meter of a process: it counts what was appended, and shows all metrics in the format of Prometheus."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.metrics.counting import Counting, Known
from saga_es.metrics.gauges import DatabaseGauges
from saga_es.metrics.observed import ObservedWriter
from saga_es.metrics.series import Series
from saga_es.store.database import Database
from saga_es.store.database_store import DatabaseStore
from saga_es.store.views.kinds import Views
from saga_es.store.views.saga_view import sagas

COUNT_EVERY_S = 1.0
"""How often what was appended is counted, so that it is not kept; a scrape counts first, too."""

CLOSE_TIMEOUT_S = 3.0

LOOKED_UP_AT_ONCE = 500

SHARED_BY_PROCESSES = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of `prometheus-client` that names a folder for the metrics of the processes of one server."""

Measure = Callable[[], Mapping[str, float]]
"""Says the present values of the process's own gauges."""


class _WithoutCreated(Collector):
    """A registry's metrics without the `_created` samples, which double the series and which few read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


Request = tuple[str, str, str, float]
"""A request that was answered: method, route, status and seconds."""


class Meter:
    """Counts, in a thread of its own, and shows. Made before the engine, whose store it watches.

    Args:
        store: The store of the process.
        views: The views that the store's writer keeps.
        waiting: Counts the sagas that wait for code, by definition.

    Attributes:
        store: The same store, with a writer that is watched.
        requests: The requests that nobody has counted yet.
    """

    def __init__(
        self, database: Database, store: DatabaseStore, views: Views, waiting: Callable[[], Mapping[str, int]]
    ) -> None:
        self.series = Series()
        self._counting = Counting(self.series, self._find)
        writer = ObservedWriter(database, store.log, views, self._counting.observe)
        self.store = replace(store, writer=writer)
        self._database = database
        self._gauges = DatabaseGauges(database, store.workers.lease_s, [view.name for view in views], waiting)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._measure: Measure = dict
        self.requests: deque[Request] = deque()
        self._thread = threading.Thread(target=self._run, name="saga-es-meter", daemon=True)

    def open(self, measure: Measure) -> None:
        """Begin to count.

        Args:
            measure: Says the present values of the process's own gauges, by name.
        """
        self._measure = measure
        self._thread.start()

    def close(self) -> None:
        """Count what is left, and stop."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def page(self, accept: str) -> tuple[bytes, str]:
        """All metrics, and their content type.

        Args:
            accept: The header `Accept` of the request: OpenMetrics, with exemplars, or the older text format.
        """
        self._count()
        encode, content_type = choose_encoder(accept)
        registry = CollectorRegistry()
        if os.environ.get(SHARED_BY_PROCESSES):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # adds up the files of all processes
        else:
            registry.register(_WithoutCreated(self.series.registry))
        registry.register(self._gauges)
        return encode(registry), content_type

    def _run(self) -> None:
        while not self._stopped.wait(COUNT_EVERY_S):
            self._count()
        self._count()

    def _count(self) -> None:
        with self._lock:
            try:
                self._counting.count()
                self._count_requests()
                for name, value in self._measure().items():
                    self.series.set(name, value)
            except Exception:  # no metric is worth a thread
                logger.exception("counting failed; some events are missing in the metrics")

    def _count_requests(self) -> None:
        while self.requests:
            method, route, status, seconds = self.requests.popleft()
            self.series.add("http_requests", (method, route, status))
            self.series.observe("http_request_duration_seconds", seconds, (route,))

    def _find(self, saga_ids: list[str]) -> dict[str, Known]:
        """Look sagas up in the view; while the database is away, none is found."""
        found: dict[str, Known] = {}
        try:
            with self._database.reading() as connection:
                for some in _in_bunches(saga_ids):
                    query = sa.select(sagas.c.saga_id, sagas.c.name, sagas.c.created_at)
                    for row in connection.execute(query.where(sagas.c.saga_id.in_(some))):
                        found[row.saga_id] = Known(row.name, row.created_at)
        except StoreUnavailable:
            logger.debug("sagas could not be looked up for the metrics", sagas=len(saga_ids))
        return found


def _in_bunches(saga_ids: list[str]) -> Iterable[list[str]]:
    return (saga_ids[first : first + LOOKED_UP_AT_ONCE] for first in range(0, len(saga_ids), LOOKED_UP_AT_ONCE))
