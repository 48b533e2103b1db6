"""The definitions, their versions in flight and their figures over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Response
from marshmallow import Schema, fields, validate

from saga_es.access.permissions import Permission, permits
from saga_es.api import subjects
from saga_es.api.access import scope
from saga_es.api.filters import LONGEST
from saga_es.api.responses import json_response, node
from saga_es.api.sagas import blueprint
from saga_es.node.definitions import Definition, definitions
from saga_es.store.queries.figures import SPANS, on_the_wire, since

saga_blueprint = subjects.saga_blueprint
"""The blueprint of the saga API, with the routes of this module too."""


class DurationsSchema(Schema):
    """Percentiles, in seconds; null: it happened fewer than 20 times."""

    p50 = fields.Float(required=True, allow_none=True)
    p95 = fields.Float(required=True, allow_none=True)
    p99 = fields.Float(required=True, allow_none=True)


class StepFiguresSchema(Schema):
    """The answered calls of one step."""

    step = fields.String(required=True)
    calls = fields.Integer(required=True, metadata={"description": "Of its action: completed, retried and failed."})
    completed = fields.Integer(required=True)
    retried = fields.Integer(required=True, metadata={"description": "They failed, and another attempt followed."})
    failed = fields.Integer(required=True, metadata={"description": "They failed, and the step was given up."})
    undone = fields.Integer(required=True)
    undo_retried = fields.Integer(required=True)
    undo_failed = fields.Integer(required=True)
    took = fields.Nested(DurationsSchema, required=True, metadata={"description": "Of those that completed."})


class FiguresSchema(Schema):
    """How many sagas were started, and how many ended how."""

    name = fields.String(required=True)
    started = fields.Integer(required=True)
    completed = fields.Integer(required=True)
    compensated = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    success_rate = fields.Float(required=True, allow_none=True, metadata={"description": "Of those that ended."})
    took = fields.Nested(DurationsSchema, required=True, metadata={"description": "Of those that completed."})
    steps = fields.List(fields.Nested(StepFiguresSchema), required=True)


class InFlightSchema(Schema):
    """The unfinished sagas of one version."""

    plan_id = fields.String(required=True)
    is_present = fields.Boolean(required=True, metadata={"description": "This process starts sagas of it."})
    sagas = fields.Integer(required=True)
    is_all = fields.Boolean(required=True, metadata={"description": "false: there are more, not counted."})
    missing = fields.List(
        fields.String(), required=True, metadata={"description": "Code that such sagas may need, and is not here."}
    )


class DefinitionSchema(Schema):
    """One definition."""

    name = fields.String(required=True)
    is_known = fields.Boolean(required=True, metadata={"description": "This process has its code."})
    fits = fields.Boolean(required=True, metadata={"description": "It has all code that unfinished sagas may need."})
    in_flight = fields.List(fields.Nested(InFlightSchema), required=True)
    figures = fields.Nested(FiguresSchema, required=True, allow_none=True)


class DefinitionsSchema(Schema):
    """All definitions, or one."""

    since = fields.AwareDateTime(required=True, metadata={"description": "When the figures begin."})
    definitions = fields.List(fields.Nested(DefinitionSchema), required=True)


class DefinitionsQuerySchema(Schema):
    """Which definitions, and the span of the figures."""

    name = fields.String(
        load_default=None,
        validate=validate.Length(max=LONGEST),
        metadata={"description": "This definition alone, with the figures of its steps."},
    )
    within = fields.String(load_default="day", validate=validate.OneOf(list(SPANS)))


@blueprint.get("/definitions")
@blueprint.arguments(DefinitionsQuerySchema, location="query")
@blueprint.response(200, DefinitionsSchema)
@permits(Permission.READ)
def list_definitions(query: dict[str, Any]) -> Response:
    """The definitions: which versions are in flight, whether the code here fits them, and their figures."""
    begin = since(query["within"], datetime.now(UTC))
    found = [] if "\0" in (query["name"] or "") else definitions(node(), scope(), begin, query["name"])
    return json_response({"since": begin, "definitions": [_sent(one) for one in found]})


def _sent(found: Definition) -> dict[str, Any]:
    return {
        "name": found.name,
        "is_known": found.is_known,
        "fits": found.fits,
        "in_flight": [msgspec.structs.asdict(version) for version in found.in_flight],
        "figures": None if found.figures is None else on_the_wire(found.figures),
    }
