"""The venue service: the places where events happen."""

from __future__ import annotations

import sqlalchemy as sa
from marshmallow import fields, validate

from saga_es.api import Text
from saga_es.participant import record_table
from services.records import RecordSchema, Service


class VenueSchema(RecordSchema):
    """A venue; the capacity is in people."""

    name = Text(required=True)
    address = Text(500, required=True)
    capacity = fields.Integer(required=True, strict=True, validate=validate.Range(1, 10_000_000))
    facilities = fields.List(Text(), load_default=list, validate=validate.Length(max=100))


service = Service(
    category="venue",
    noun="Venue",
    plural="venues",
    id_name="venue_id",
    schema=VenueSchema,
    table=record_table(
        "venues",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("address", sa.String(500), nullable=False),
        sa.Column("capacity", sa.Integer, nullable=False),
        sa.Column("facilities", sa.JSON, nullable=False),
    ),
)
