"""Counts the requests of an application for the metrics."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from saga_es.node.node import Node

_BEGAN_AT = "saga_es_began_at"
UNMATCHED = "(none)"
"""The route of a request that no route matches: its path may be anything, and is no label."""


def count_requests(node: Node, app: Flask) -> None:
    """Count each request of an application, and its seconds, by route."""
    meter = node.meter
    if meter is None:
        return

    def begin() -> None:
        setattr(g, _BEGAN_AT, time.perf_counter())

    def end(response: Response) -> Response:
        route = str(request.url_rule) if request.url_rule else UNMATCHED
        method = request.method if request.url_rule else UNMATCHED  # a stranger may send any word as a method
        meter.requests.append((method, route, str(response.status_code), time.perf_counter() - getattr(g, _BEGAN_AT)))
        return response

    app.before_request_funcs.setdefault(None, []).insert(0, begin)
    app.after_request(end)
