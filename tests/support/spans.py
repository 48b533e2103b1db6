"""The spans that this process makes, kept in memory by the real SDK of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@cache
def _exporter() -> InMemorySpanExporter:
    """The exporter of the process: the provider can be set only once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


class Kept:
    """The spans that have ended."""

    @property
    def all(self) -> list[ReadableSpan]:
        """All of them, in the order in which they ended."""
        return list(_exporter().get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name."""
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        (span,) = self.named(name)
        return span


@contextmanager
def kept_spans() -> Iterator[Kept]:
    """The spans that end in this block."""
    _exporter().clear()
    yield Kept()
    _exporter().clear()


def trace_id(span: ReadableSpan) -> str:
    """The trace of a span, as headers have it."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def span_id(span: ReadableSpan) -> str:
    """The id of a span, as headers have it."""
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def parent_id(span: ReadableSpan) -> str | None:
    """The id of the span's parent."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def linked(span: ReadableSpan) -> list[str]:
    """The ids of the spans to which it is linked."""
    return [f"{link.context.span_id:016x}" for link in span.links]
