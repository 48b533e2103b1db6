"""What went wrong, in groups, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response
from marshmallow import Schema, fields

from saga_es.access.permissions import Permission, permits
from saga_es.api import commands
from saga_es.api.access import check_error_filter, shown_error
from saga_es.api.filters import SagaFilterSchema, filter_of
from saga_es.api.responses import json_response, node
from saga_es.api.sagas import blueprint
from saga_es.store.queries.failures import failures, on_the_wire

saga_blueprint = commands.saga_blueprint
"""The blueprint of the saga API, with the routes of this module too."""


class GroupSchema(Schema):
    """Sagas that failed in the same way."""

    fingerprint = fields.String(required=True)
    name = fields.String(required=True, metadata={"description": "The definition's name."})
    step = fields.String(required=True)
    error = fields.String(required=True, metadata={"description": "With # for ids, times and numbers."})
    state = fields.String(required=True, metadata={"description": "A status, or `retrying`."})
    count = fields.Integer(required=True)
    first_at = fields.AwareDateTime(required=True)
    last_at = fields.AwareDateTime(required=True)
    sample = fields.List(fields.String(), required=True, metadata={"description": "Ids of the newest."})


class FailuresSchema(Schema):
    """Failures in groups, the largest first."""

    groups = fields.List(fields.Nested(GroupSchema), required=True)
    is_complete = fields.Boolean(required=True, metadata={"description": "false: only the newest were read."})


class FailureFilterSchema(SagaFilterSchema):
    """Filters that a saga must meet; without a status: FAILED and retrying sagas."""

    class Meta:
        """A group is not cut into pages."""

        exclude = ("limit", "cursor")


@blueprint.get("/failures")
@blueprint.arguments(FailureFilterSchema, location="query")
@blueprint.response(200, FailuresSchema)
@permits(Permission.READ)
def list_failures(query: dict[str, Any]) -> Response:
    """Group the sagas that need attention by what went wrong: definition, step, and error without ids and numbers."""
    check_error_filter(query["error"])
    here = node()
    found = failures(here.database, here.store.log, here.store.sagas, filter_of(query), datetime.now(UTC))
    groups = [{**on_the_wire(group), "error": shown_error(group.error)} for group in found.groups]
    return json_response({"groups": groups, "is_complete": found.is_complete})
