"""The saga `create-event`: it registers an event, its details, a venue and tickets, or none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from saga_es import Participant, Saga
from saga_es.api import (
    EXECUTION_HEADERS,
    Blueprint,
    Day,
    ExecutionSchema,
    Number,
    Permission,
    StartedSchema,
    Text,
    execute,
)

Input = dict[str, Any]

event = Participant("event")
event_details = Participant("event_details")
venue = Participant("venue")
ticket = Participant("ticket")


def _event(input: Input) -> dict[str, Any]:
    return {
        "name": input["name"],
        "description": input["description"],
        "date": input["date"],
        "simulate_failure": input["fail_at_step"] == "event",
    }


def _event_details(input: Input, event: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": event["event_id"],
        "detailed_description": input["detailed_description"],
        "duration": input["duration"],
        "category": input["category"],
        "requirements": input["requirements"],
        "simulate_failure": input["fail_at_step"] == "event_details",
    }


def _venue(input: Input) -> dict[str, Any]:
    return {
        "name": input["venue_name"],
        "address": input["venue_address"],
        "capacity": input["venue_capacity"],
        "facilities": input["venue_facilities"],
        "simulate_failure": input["fail_at_step"] == "venue",
    }


def _ticket(input: Input, event: dict[str, Any], venue: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_id": event["event_id"],
        "venue_id": venue["venue_id"],
        "ticket_type": input["ticket_type"],
        "price": input["ticket_price"],
        "quantity": input["ticket_quantity"],
        "simulate_failure": input["fail_at_step"] == "ticket",
    }


BODIES: dict[str, Callable[..., dict[str, Any]]] = {
    "event": _event,
    "event_details": _event_details,
    "venue": _venue,
    "ticket": _ticket,
}

# A rollback names the record by the key of the register call, which the service uses as the record's id. So the
# registration can be undone even if the answer with the id was lost.
saga = Saga("create-event")
saga.request(
    "event",
    event.post("/api/event/register", _event),
    compensation=event.delete("/api/event/rollback/{action_key}"),
    title="Event Registration",
)
saga.request(
    "event_details",
    event_details.post("/api/event-details/register", _event_details),
    compensation=event_details.delete("/api/event-details/rollback/{action_key}"),
    title="Event Details Registration",
)
saga.request(
    "venue",
    venue.post("/api/venue/register", _venue),
    compensation=venue.delete("/api/venue/rollback/{action_key}"),
    title="Venue Registration",
)
saga.request(
    "ticket",
    ticket.post("/api/ticket/register", _ticket),
    compensation=ticket.delete("/api/ticket/rollback/{action_key}"),
    title="Ticket Registration",
)

STEPS = [step.name for step in saga.plan.steps]


class CreateEventSchema(Schema):
    """The input of the saga. A field that is left out gets its default, and is recorded with it."""

    name = Text(required=True)
    description = Text(2000, load_default="No description yet")
    date = Day(load_default="2030-01-01")
    fail_at_step = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(STEPS),
        metadata={"description": "Have this step refused, to see the others compensated."},
    )
    detailed_description = Text(10_000, load_default="Details to follow")
    duration = fields.Integer(
        load_default=120, strict=True, validate=validate.Range(1, 1_000_000), metadata={"description": "Minutes."}
    )
    category = Text(load_default="general")
    requirements = fields.List(Text(), load_default=list, validate=validate.Length(max=100))
    venue_name = Text(load_default="Main Hall")
    venue_address = Text(500, load_default="1 Market Square")
    venue_capacity = fields.Integer(load_default=500, strict=True, validate=validate.Range(1, 10_000_000))
    venue_facilities = fields.List(Text(), load_default=list, validate=validate.Length(max=100))
    ticket_type = Text(load_default="standard")
    ticket_price = Number(load_default=25.0, validate=validate.Range(0, 1_000_000_000))
    ticket_quantity = fields.Integer(load_default=100, strict=True, validate=validate.Range(1, 100_000_000))


blueprint = Blueprint(
    "execute",
    __name__,
    url_prefix="/api/saga",
    description="Starting the saga create-event",
    permission=Permission.START,
)


@blueprint.post("/execute")
@blueprint.doc(parameters=EXECUTION_HEADERS)
@blueprint.arguments(CreateEventSchema())  # an instance, made once and not for each request
@blueprint.response(200, ExecutionSchema, description="Completed")
@blueprint.alt_response(202, schema=StartedSchema, description="The saga goes on by itself")
@blueprint.alt_response(409, schema=ExecutionSchema, description="Rolled back")
@blueprint.alt_response(410, "GONE")
@blueprint.alt_response(429, "TOO_MANY_REQUESTS")
@blueprint.alt_response(500, schema=ExecutionSchema, description="A person is needed")
def execute_create_event(body: Input) -> Response:
    """Run the saga, and answer with its end."""
    return execute(saga, body)
