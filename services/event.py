"""The event service: name, description and date of an event."""

from __future__ import annotations

import sqlalchemy as sa

from saga_es.api import Day, Text
from saga_es.participant import record_table
from services.records import RecordSchema, Service


class EventSchema(RecordSchema):
    """An event."""

    name = Text(required=True)
    description = Text(2000, required=True)
    date = Day(required=True)


service = Service(
    category="event",
    noun="Event",
    plural="events",
    id_name="event_id",
    schema=EventSchema,
    table=record_table(
        "events",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("date", sa.String(10), nullable=False),
    ),
)
