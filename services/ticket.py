"""The ticket service: the kinds of tickets for an event at a venue."""

from __future__ import annotations

import sqlalchemy as sa
from marshmallow import fields, validate

from saga_es.api import Id, Number, Text
from saga_es.participant import record_table
from services.records import RecordSchema, Service


class TicketSchema(RecordSchema):
    """A kind of ticket."""

    event_id = Id(required=True)
    venue_id = Id(required=True)
    ticket_type = Text(required=True)
    price = Number(required=True, validate=validate.Range(0, 1_000_000_000))
    quantity = fields.Integer(required=True, strict=True, validate=validate.Range(1, 100_000_000))


service = Service(
    category="ticket",
    noun="Ticket",
    plural="tickets",
    id_name="ticket_id",
    schema=TicketSchema,
    references={"event_id": "event", "venue_id": "venue"},
    table=record_table(
        "tickets",
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("venue_id", sa.String(36), nullable=False),
        sa.Column("ticket_type", sa.String(200), nullable=False),
        sa.Column("price", sa.Double, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
    ),
)
