"""Spans around starts, commands and takeovers, and the spans of attempts; all of a saga are in the saga's trace.

A span ends in the process that began it. So the spans of a saga are children of the span of its start, which the log
names; links join what was made in one process: an attempt to the one before it, a compensation to what it undoes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from saga_es.core import events as e
from saga_es.core.commands import Command
from saga_es.core.outcomes import Direction
from saga_es.core.plan import step_of
from saga_es.core.state import SagaState
from saga_es.core.trace import Trace, trace_of
from saga_es.runtime.calls.port import Call
from saga_es.runtime.tracing import Incoming, PassedOn

REMEMBERED = 10_000
"""Spans that later ones may be linked to."""

SCHEMA = "https://opentelemetry.io/schemas/1.40.0"
"""The semantic conventions of the attributes that are not ours."""

Key = tuple[str, ...]

_W3C = TraceContextTextMapPropagator()


class Spans(PassedOn):
    """Makes spans by the API of OpenTelemetry; whoever configures the SDK says where they go.

    Safe to use from any thread.

    Args:
        incoming: Finds the trace of the present request, where nothing of OpenTelemetry reads it.
        provider: Whose tracer to use; None: the one that is set for the process.
    """

    def __init__(self, incoming: Incoming | None = None, provider: TracerProvider | None = None) -> None:
        super().__init__(incoming)
        self._tracer = get_tracer("saga_es", _version(), provider, SCHEMA)
        self._last: dict[Key, SpanContext] = {}
        self._lock = threading.Lock()

    @contextmanager
    def starting(self, saga: str, saga_id: str, given: Trace | None) -> Iterator[Trace | None]:
        """See `Tracing.starting`. The span's parent is the given trace, else the present span, else the request's."""
        if given is None and not get_current_span().get_span_context().is_valid:
            given = self.present()
        with self._tracer.start_as_current_span(
            f"{saga} start",
            None if given is None else context_of(given),
            SpanKind.PRODUCER,
            {"saga_es.saga.name": saga, "saga_es.saga.id": saga_id},
        ) as span:
            yield trace_in(span) or given

    @contextmanager
    def commanding(self, saga_id: str, command: Command) -> Iterator[None]:
        """See `Tracing.commanding`. The command belongs to the trace of its giver."""
        name = _name_of(command)
        attributes = {"saga_es.command": name, "saga_es.saga.id": saga_id}
        with self._tracer.start_as_current_span(f"saga {name}", None, SpanKind.PRODUCER, attributes):
            yield

    def child(self, state: SagaState, child: e.ChildStarted) -> Trace | None:
        """See `Tracing.child`. The span is linked to the attempt that made the child's input."""
        parent = trace_of_saga(state.saga_id, state.trace)
        span = self._tracer.start_span(
            f"{child.saga} start",
            context_of(parent),
            SpanKind.PRODUCER,
            {
                "saga_es.saga.name": child.saga,
                "saga_es.saga.id": child.saga_id,
                "saga_es.parent.id": state.saga_id,
                "saga_es.step.name": child.step,
            },
            self._links((state.saga_id, child.step, Direction.ACTION)),
        )
        span.end()
        return trace_in(span) or state.trace

    def taken_over(self, state: SagaState, previous: str | None) -> None:
        """See `Tracing.taken_over`. What this worker does next for the saga is linked to this span."""
        trace = trace_of_saga(state.saga_id, state.trace)
        attributes = {"saga_es.saga.name": state.plan.saga, "saga_es.saga.id": state.saga_id}
        workers = {"saga_es.worker.id": state.owner, "saga_es.worker.previous": previous}
        span = self._tracer.start_span(
            f"{state.plan.saga} {'claim' if previous is None else 'take over'}",
            context_of(trace),
            SpanKind.CONSUMER,
            {**attributes, **{name: worker for name, worker in workers.items() if worker is not None}},
            [Link(get_current_span(context_of(trace)).get_span_context())],
        )
        span.end()
        self._remember((state.saga_id,), span)

    def attempt(self, call: Call, kind: SpanKind, attributes: Mapping[str, AttributeValue]) -> Span:
        """Begin the span of an attempt, and let the call give on its trace. The caller ends it.

        Args:
            call: The attempt.
            kind: `CLIENT` for a request.
            attributes: What is called.
        """
        key = (call.saga_id, call.step, call.direction)
        undone = (call.saga_id, call.step, Direction.ACTION) if call.direction is not Direction.ACTION else key
        parent = trace_of_saga(call.saga_id, call.trace)
        span = self._tracer.start_span(
            f"{call.definition} {_PREFIXES[call.direction]}{step_of(call.step)}",
            context_of(parent),
            kind,
            {**_about(call), **attributes},
            self._links((call.saga_id,), undone, key),
        )
        self._remember(key, span)
        call.trace = trace_in(span) or parent
        return span

    def _links(self, *keys: Key) -> list[Link]:
        found = (self._last.get(key) for key in dict.fromkeys(keys))
        return [Link(context) for context in found if context is not None]

    def _remember(self, key: Key, span: Span) -> None:
        context = span.get_span_context()
        if not context.is_valid:
            return
        with self._lock:
            self._last.pop(key, None)
            self._last[key] = context
            if len(self._last) > REMEMBERED:
                del self._last[next(iter(self._last))]


_PREFIXES = {Direction.ACTION: "", Direction.COMPENSATION: "compensate ", Direction.PROBE: "probe "}


def _about(call: Call) -> dict[str, AttributeValue]:
    about: dict[str, AttributeValue] = {
        "saga_es.saga.name": call.definition,
        "saga_es.saga.id": call.saga_id,
        "saga_es.step.name": call.step,
        "saga_es.step.direction": call.direction.value,
        "saga_es.step.attempt": call.attempt,
        "saga_es.idempotency_key": call.key,
    }
    return about if call.worker is None else {**about, "saga_es.worker.id": call.worker}


def _name_of(command: Command) -> str:
    """The name of a command as the HTTP API has it: `ReplaceInput` is `replace-input`, `SendSignal` is `signal`."""
    words = re.findall("[A-Z][a-z]+", type(command).__name__)
    return "-".join(word.lower() for word in words if word != "Send")


def _version() -> str | None:
    try:
        return version("saga-es")
    except PackageNotFoundError:  # the tree is used without being installed
        return None


# ── Traces, and contexts of OpenTelemetry ────────────────────────────────────────────────────────────────


def context_of(trace: Trace) -> Context:
    """The context whose present span is the one that a trace names, in another process or this one."""
    return _W3C.extract(trace.headers, Context())


def trace_in(span: Span) -> Trace | None:
    """What names a span in other processes; None when there is no SDK, and no trace around it either."""
    headers: dict[str, str] = {}
    _W3C.inject(headers, set_span_in_context(span, Context()))
    return trace_of(headers)


def trace_of_saga(saga_id: str, kept: Trace | None) -> Trace:
    """The trace that the log keeps for a saga, else one that every worker makes of the id alike.

    The trace id of a saga whose id is a UUID has the same digits.
    """
    if kept is not None:
        return kept
    digest = sha256(saga_id.encode()).hexdigest()
    try:
        trace_id = UUID(saga_id).hex
    except ValueError:
        trace_id = digest[16:48]
    made = trace_of({"traceparent": f"00-{trace_id}-{digest[:16]}-01"})
    assert made is not None, "no digest and no UUID of a saga is zero"
    return made
