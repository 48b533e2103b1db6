"""Whether a node makes spans, and who makes its calls."""

from __future__ import annotations

from functools import partial

from saga_es.node.extras import check_otel
from saga_es.node.settings import Settings
from saga_es.runtime.calls.caller import Caller
from saga_es.runtime.calls.executor import MakeCaller
from saga_es.runtime.tracing import PassedOn


def tracing_of(settings: Settings) -> tuple[PassedOn, MakeCaller]:
    """What is told of starts, commands and takeovers, and what makes the maker of calls.

    Raises:
        NotInstalled: Spans are wanted, and the extra `otel` is not installed.
    """
    if not settings.traces:
        return PassedOn(), Caller
    check_otel()
    from saga_es.tracing.spans import Spans  # noqa: PLC0415 (an extra: who wants no spans does not load it)
    from saga_es.tracing.traced_caller import TracedCaller  # noqa: PLC0415 (the same)

    spans = Spans()
    return spans, partial(TracedCaller, spans)
