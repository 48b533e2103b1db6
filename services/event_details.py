"""The event details service: a longer description, duration and requirements of an event."""

from __future__ import annotations

import sqlalchemy as sa
from marshmallow import fields, validate

from saga_es.api import Id, Text
from saga_es.participant import record_table
from services.records import RecordSchema, Service


class EventDetailsSchema(RecordSchema):
    """Details of an event; the duration is in minutes."""

    event_id = Id(required=True)
    detailed_description = Text(10_000, required=True)
    duration = fields.Integer(required=True, strict=True, validate=validate.Range(1, 1_000_000))
    category = Text(required=True)
    requirements = fields.List(Text(), load_default=list, validate=validate.Length(max=100))


service = Service(
    category="event_details",
    noun="Event details",
    plural="event_details",
    id_name="details_id",
    schema=EventDetailsSchema,
    references={"event_id": "event"},
    table=record_table(
        "event_details",
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("detailed_description", sa.Text, nullable=False),
        sa.Column("duration", sa.Integer, nullable=False),
        sa.Column("category", sa.String(200), nullable=False),
        sa.Column("requirements", sa.JSON, nullable=False),
    ),
)
