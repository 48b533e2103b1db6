"""Health and metrics: `/livez`, `/readyz`, `/metrics`. They open no node, and name no secret."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from saga_es.access.permissions import Permission, permits
from saga_es.api.guards import with_headers
from saga_es.api.problems import Problem, register_problem_handlers
from saga_es.api.responses import json_response
from saga_es.node.health import NODE_UNOPENED, readiness
from saga_es.node.node import Node

NOT_KEPT = {"Cache-Control": "no-store"}

health_blueprint = Blueprint("saga_es_health", __name__)
register_problem_handlers(health_blueprint)
health_blueprint.after_request(with_headers)  # also in an application of the user's


@health_blueprint.get("/livez")
@permits(Permission.OPEN)
def livez() -> Response:
    """The process answers; the database is not asked."""
    return json_response({"status": "alive"}, headers=NOT_KEPT)


@health_blueprint.get("/readyz")
@permits(Permission.OPEN)
def readyz() -> Response:
    """Whether this process can do its work; 503 names the checks that failed."""
    found = readiness(_node())
    return json_response(found, 200 if found.is_ready else 503, NOT_KEPT)


@health_blueprint.get("/metrics")
@permits(Permission.WATCH)
def metrics() -> Response:
    """The metrics of this process and of the database, for Prometheus."""
    meter = _node().meter
    if meter is None:
        raise Problem(501, "there are no metrics without prometheus-client: install saga-es[metrics]")
    page, content_type = meter.page(request.headers.get("Accept", ""))
    return Response(page, headers=NOT_KEPT, content_type=content_type)


def _node() -> Node:
    found: Node = current_app.extensions[NODE_UNOPENED]
    return found
