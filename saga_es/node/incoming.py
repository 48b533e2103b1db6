"""The trace of a request that Flask answers."""

from __future__ import annotations

from flask import has_request_context, request

from saga_es.core.trace import Trace, trace_of


def trace_of_request() -> Trace | None:
    """The trace that the headers of the present request carry; None outside a request."""
    return trace_of(request.headers) if has_request_context() else None
