"""Demo endpoints: each shows one scenario, and needs nothing but curl."""

from __future__ import annotations

import inspect
from http import HTTPStatus
from typing import Any

import msgspec
import sqlalchemy as sa
from flask import Response
from marshmallow import Schema, fields, validate
from sqlalchemy.engine import Connection

from saga_es import Scenario
from saga_es.api import (
    Blueprint,
    Permission,
    PositionSchema,
    execute,
    json_response,
    node,
    page,
    summaries,
    views_as_of,
)
from services import create_event
from services.catalogue import SERVICES
from services.records import on_the_wire

NEWEST = 100
TIMEOUT_S = 10.0

SHOW = {
    "name": "Evening Concert",
    "description": "A string quartet plays Haydn",
    "date": "2030-05-17",
    "detailed_description": "Two quartets, an interval, and a talk before the concert",
    "duration": 135,
    "category": "music",
    "requirements": ["grand piano out of sight", "four chairs without arms"],
    "venue_name": "Old Library",
    "venue_address": "7 Cloister Lane",
    "venue_capacity": 180,
    "venue_facilities": ["cloakroom", "step-free access"],
    "ticket_type": "standard",
    "ticket_price": 28.5,
    "ticket_quantity": 180,
}

SCENARIOS = [
    Scenario(title, about, create_event.saga.name, create_event.CreateEventSchema().load({**SHOW, **failing}))
    for title, about, failing in (
        ("All goes well", "All four steps are done, one after the other.", {}),
        *(
            (
                f"{step} fails",
                f"Step {step} is refused; what was done before is undone, last first.",
                {"fail_at_step": step},
            )
            for step in create_event.STEPS
        ),
    )
]

root = Blueprint("root", __name__, description="What is served here", permission=Permission.OPEN)
blueprint = Blueprint(
    "demo",
    __name__,
    url_prefix="/demo",
    description="One endpoint for each scenario",
    body_is_optional=True,
    permission=Permission.OPERATE,
)


class FailureSchema(Schema):
    """The step that is to fail."""

    fail_at_step = fields.String(load_default="event_details", validate=validate.OneOf(create_event.STEPS))


@root.get("/")
@root.response(200, {"type": "object"})
def index() -> Response:
    """What is served here."""
    return json_response(
        {"status": "running", "name": node().app.name, "version": node().app.version, "docs": "/docs/"}
    )


@blueprint.get("/")
@blueprint.response(200, {"type": "object"})
def endpoints() -> Response:
    """The demo endpoints."""
    return json_response(
        {
            "endpoints": [
                {"method": "POST", "path": "/demo/create-event-complete", "shows": "a saga that completes"},
                {"method": "POST", "path": "/demo/simulate-failure", "shows": "a saga that is rolled back"},
                {"method": "GET", "path": "/demo/list-transactions", "shows": "the newest sagas"},
                {"method": "GET", "path": "/demo/database-status", "shows": "what the views hold"},
                {"method": "GET", "path": "/demo/health-check-all", "shows": "the health of every service"},
                {"method": "POST", "path": "/demo/test-individual-apis", "shows": "each service without a saga"},
            ]
        }
    )


@blueprint.post("/create-event-complete")
@blueprint.response(200, {"type": "object"})
def create_event_complete() -> Response:
    """Run the saga with sample data to its end."""
    return _scenario("create-event-complete", "All four steps are done, one after the other.", SHOW)


@blueprint.post("/simulate-failure")
@blueprint.arguments(FailureSchema, required=False)
@blueprint.response(200, {"type": "object"})
def simulate_failure(body: dict[str, str]) -> Response:
    """Run the saga with a step that fails; the steps before it are undone."""
    failing = body["fail_at_step"]
    description = f"Step {failing!r} is refused; the steps before it are compensated in reverse order."
    return _scenario("simulate-failure", description, {**SHOW, "fail_at_step": failing}, failed_at_step=failing)


@blueprint.get("/list-transactions")
@blueprint.response(200, {"type": "object"})
def list_transactions() -> Response:
    """The number of sagas, and the newest of them."""
    with views_as_of(None) as connection:
        found = summaries(connection, NEWEST)
    return json_response({"total_transactions": found.total, "transactions": found.newest})


@blueprint.get("/database-status")
@blueprint.arguments(PositionSchema, location="query")
@blueprint.response(200, {"type": "object"})
@blueprint.alt_response(404, "NOT_FOUND")
def database_status(query: dict[str, int | None]) -> Response:
    """The number of records in each view, and the newest of them, as of now or of a position of the log."""
    with views_as_of(query["at_position"]) as connection:
        counts = {service.plural: _count(connection, service.table) for service in SERVICES}
        details: dict[str, Any] = {
            service.plural: [on_the_wire(row) for row in page(connection, service.table, NEWEST).rows]
            for service in SERVICES
        }
        sagas = summaries(connection, NEWEST)
    summary = {f"{plural}_count": count for plural, count in counts.items()}
    summary |= {"transactions_count": sagas.total, "total_records": sum(counts.values())}
    return json_response({"summary": summary, "details": {**details, "transactions": sagas.newest}})


@blueprint.get("/health-check-all")
@blueprint.response(200, {"type": "object"})
def health_check_all() -> Response:
    """The health of the application, the four services and the engine, each by a request of its own."""
    individual = {"main": _health("main", "/")}
    individual |= {service.category: _health(service.category, f"/api/{service.path}/health") for service in SERVICES}
    individual["saga"] = _health("saga", "/api/saga/health")
    healthy = all(answer["status"] == "healthy" for answer in individual.values())
    return json_response({"overall_status": "healthy" if healthy else "unhealthy", "individual_results": individual})


@blueprint.post("/test-individual-apis")
@blueprint.response(200, {"type": "object"})
def test_individual_apis() -> Response:
    """Call each service once, without a saga."""
    given: dict[str, Any] = {"input": create_event.CreateEventSchema().load(SHOW)}
    results: dict[str, Any] = {}
    for service in SERVICES:
        body = create_event.BODIES[service.category]
        try:
            needed = body(**{name: given[name] for name in inspect.signature(body).parameters})
        except (KeyError, TypeError):
            status, answer = 0, {"detail": "not called: an earlier service gave no id for it"}
        else:
            status, answer = _call(service.category, "POST", f"/api/{service.path}/register", needed)
        given[service.category] = answer
        results[f"{service.category}_api"] = {"status": status, "data": answer}
    return json_response({"results": results})


def _scenario(name: str, description: str, show: dict[str, Any], **more: str) -> Response:
    """The scenario's answer: 200 however the saga ended, unless a person is needed."""
    answer = execute(create_event.saga, create_event.CreateEventSchema().load(show))
    body = {"demo_scenario": name, "description": description, **more, "result": msgspec.Raw(answer.get_data())}
    return json_response(
        body, HTTPStatus.OK if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else answer.status_code
    )


def _count(connection: Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def _health(participant: str, path: str) -> dict[str, Any]:
    status, _ = _call(participant, "GET", path)
    return {"status": "healthy" if status == HTTPStatus.OK else "unhealthy", "response_code": status}


def _call(participant: str, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Call a participant by the transport that a saga uses for it."""
    return node().call(participant, method, path, body, TIMEOUT_S)
