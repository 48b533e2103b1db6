"""The series: every metric of a process, with its labels. Names and labels are a promise (`docs/observability.md`).

No label has values that grow without bound: definitions, steps and outcomes are labels, ids are not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

PREFIX = "saga_es"

COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STEP_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
SAGA_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86_400, 604_800)
BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

_METRICS: dict[str, tuple[type[MetricWrapperBase], str, tuple[str, ...], dict[str, Any]]] = {
    "sagas_started": (
        Counter,
        "Sagas that began here; a saga that waits PENDING counts when it begins.",
        ("saga",),
        {},
    ),
    "sagas_ended": (Counter, "Sagas that ended here, by how.", ("saga", "status"), {}),
    "saga_duration_seconds": (
        Histogram,
        "Seconds from the start of a saga to its end; an exemplar names the saga and its trace.",
        ("saga", "status"),
        {"buckets": SAGA_S},
    ),
    "sagas_aborted": (Counter, "Sagas that gave up going forward.", ("saga",), {}),
    "sagas_poisoned": (Counter, "Sagas that failed because their call crashed too many workers.", ("saga",), {}),
    "step_attempts": (
        Counter,
        "Attempts with an outcome: completed, rejected, unavailable or unknown.",
        ("saga", "step", "direction", "outcome"),
        {},
    ),
    "step_duration_seconds": (
        Histogram,
        "Seconds from the intent of an attempt to its recorded outcome, the wait for a thread included.",
        ("saga", "step", "direction"),
        {"buckets": STEP_S},
    ),
    "step_retries": (Counter, "Attempts after the first.", ("saga", "step", "direction"), {}),
    "compensations": (Counter, "Steps whose effect was undone.", ("saga", "step"), {}),
    "signals": (Counter, "Signals received.", ("saga",), {}),
    "commands": (Counter, "Commands that sagas followed, by kind.", ("command",), {}),
    "takeovers": (Counter, "Sagas taken over from a worker that was gone.", (), {}),
    "claims": (Counter, "Sagas claimed that no worker owned.", (), {}),
    "append_duration_seconds": (Histogram, "Seconds that the commit of a batch took.", (), {"buckets": COMMIT_S}),
    "append_events": (Histogram, "Events in a committed batch.", (), {"buckets": BATCH}),
    "append_conflicts": (Counter, "Appends that lost against another worker's.", (), {}),
    "appends_refused": (Counter, "Appends that the database does not accept.", (), {}),
    "http_requests": (Counter, "Requests answered, by route.", ("method", "route", "status"), {}),
    "http_request_duration_seconds": (Histogram, "Seconds to answer a request.", ("route",), {"buckets": STEP_S}),
    "owned_sagas": (Gauge, "Sagas that this process owns.", (), {"multiprocess_mode": "livesum"}),
    "calls_in_flight": (Gauge, "Calls that this process has begun.", (), {"multiprocess_mode": "livesum"}),
    "calls_waiting": (Gauge, "Calls that wait for a thread of this process.", (), {"multiprocess_mode": "livesum"}),
    "loop_lag_seconds": (
        Gauge,
        "Seconds since the loop last came round, while it has work.",
        (),
        {"multiprocess_mode": "livemax"},
    ),
}

Observed = TypeVar("Observed", bound=MetricWrapperBase)


class Series:
    """The metrics of one process, in a registry of their own: the host's registry is not touched."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics = {name: _made(name, self.registry) for name in _METRICS}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}

    def add(self, name: str, labels: tuple[str, ...] = (), amount: float = 1) -> None:
        """Add to a counter."""
        self._child(name, labels).inc(amount)

    def observe(
        self, name: str, seconds: float, labels: tuple[str, ...] = (), exemplar: dict[str, str] | None = None
    ) -> None:
        """Add a value to a histogram; an exemplar names what it is the value of."""
        self._child(name, labels).observe(seconds, exemplar)

    def observe_all(
        self,
        name: str,
        values: Sequence[float],
        labels: tuple[str, ...] = (),
        exemplar: Callable[[int], dict[str, str]] | None = None,
    ) -> None:
        """Add many values to a histogram, and show in each bucket that got some an exemplar of its greatest value.

        One bucket is told once, whatever falls into it: to observe each value by itself costs several times as much.

        The exemplar is made from the index of the value among the sorted values.
        """
        child = self._child(name, labels)
        ordered = sorted(values)
        first = 0
        for bucket, bound in enumerate(child._upper_bounds):  # noqa: SLF001 (the library adds no many)
            end = bisect_right(ordered, bound, first)
            if end > first:
                child.observe(ordered[end - 1], exemplar and exemplar(end - 1))
                child._sum.inc(sum(ordered[first : end - 1]))  # noqa: SLF001 (the same)
                child._buckets[bucket].inc(end - first - 1)  # noqa: SLF001 (the same)
                first = end

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._child(name, ()).set(value)

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:
        child = self._children.get((name, labels))
        if child is None:
            metric = self._metrics[name]
            child = self._children[name, labels] = metric.labels(*labels) if labels else metric
        return child


def described() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Kind, labels and description of every metric of a process, by its name on the wire."""
    return {
        f"{PREFIX}_{name}{'_total' if made is Counter else ''}": (made.__name__.lower(), labels, words)
        for name, (made, words, labels, _) in _METRICS.items()
    }


def _made(name: str, registry: CollectorRegistry) -> MetricWrapperBase:
    kind: Callable[..., MetricWrapperBase]
    kind, words, labels, options = _METRICS[name]
    return kind(f"{PREFIX}_{name}", words, labels, registry=registry, **options)
