"""What is at work on the database, over HTTP."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from flask import Response
from marshmallow import Schema, fields, validate

from saga_es.access.permissions import Permission, permits
from saga_es.api import definitions
from saga_es.api.definitions import DurationsSchema
from saga_es.api.responses import json_response, node
from saga_es.api.sagas import blueprint
from saga_es.node.overview import overview
from saga_es.store.admin.doctor import examine

saga_blueprint = definitions.saga_blueprint
"""The blueprint of the saga API, with the routes of this module too."""


def _of_this_process() -> fields.Integer:
    return fields.Integer(required=True, allow_none=True, metadata={"description": "null: another process knows."})


class WorkerSchema(Schema):
    """One worker that has a row."""

    worker_id = fields.String(required=True)
    host = fields.String(required=True)
    pid = fields.Integer(required=True)
    is_here = fields.Boolean(required=True, metadata={"description": "It is the process that answers."})
    is_alive = fields.Boolean(required=True)
    silent_s = fields.Float(required=True, metadata={"description": "Seconds since its heartbeat."})
    sagas = fields.Integer(required=True, metadata={"description": "Unfinished sagas that it owns."})
    definitions = fields.Integer(required=True, allow_none=True)
    in_flight = _of_this_process()
    sagas_at_once = _of_this_process()
    call_threads = _of_this_process()


class ViewStateSchema(Schema):
    """One view."""

    name = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(["inline", "asynchronous"]))
    lag = fields.Integer(required=True, allow_none=True, metadata={"description": "Positions that it lacks."})
    trouble = fields.String(required=True, allow_none=True, metadata={"description": "Why it stands still."})


class PublisherStateSchema(Schema):
    """One publisher."""

    name = fields.String(required=True)
    lag = fields.Integer(required=True)
    holder = fields.String(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)


class VerifiedSchema(Schema):
    """The last whole verification."""

    differences = fields.Integer(required=True)
    at = fields.AwareDateTime(required=True)


class ThroughputSchema(Schema):
    """The sagas of all definitions, of the last hour and at most 15 minutes before."""

    since = fields.AwareDateTime(required=True)
    started = fields.Integer(required=True)
    ended = fields.Integer(required=True)
    completed = fields.Integer(required=True)
    per_minute = fields.Float(required=True)
    slowest = fields.Nested(DurationsSchema, required=True, metadata={"description": "The longest of a definition."})


class FindingSchema(Schema):
    """One finding of the doctor."""

    subject = fields.String(required=True)
    verdict = fields.String(required=True)
    found = fields.String(required=True)


class SystemSchema(Schema):
    """What is at work."""

    position = fields.Integer(required=True, metadata={"description": "The newest of the log."})
    workers = fields.List(fields.Nested(WorkerSchema), required=True)
    are_all_counted = fields.Boolean(required=True, metadata={"description": "false: workers may own more sagas."})
    views = fields.List(fields.Nested(ViewStateSchema), required=True)
    publishers = fields.List(fields.Nested(PublisherStateSchema), required=True)
    verified = fields.Nested(VerifiedSchema, required=True, allow_none=True)
    last_hour = fields.Nested(ThroughputSchema, required=True)
    findings = fields.List(fields.Nested(FindingSchema), required=True, metadata={"description": "Of the doctor."})


@blueprint.get("/system")
@blueprint.response(200, SystemSchema)
@permits(Permission.WATCH)
def show_system() -> Response:
    """Workers, views, publishers, the last verification, the last hour's sagas, and what `saga-es doctor` says."""
    here = node().whole
    found: dict[str, Any] = msgspec.to_builtins(overview(here), builtin_types=[])
    findings = examine(here.database, here.store.workers, here.store.log, time.time(), measures_growth=False)
    return json_response({**found, "findings": [_sent(one) for one in findings]})


def _sent(found: Any) -> dict[str, str]:
    return {"subject": found.subject, "verdict": found.verdict, "found": found.found}
