"""Batches of commands over HTTP: what one would hit, starting it, its progress, and stopping it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response, url_for
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from saga_es.access.permissions import Permission, permits
from saga_es.api import failures
from saga_es.api.access import acting, check_error_filter, principal, scope, sees_payloads, shown_error
from saga_es.api.commands import CommandSchema
from saga_es.api.failures import FailureFilterSchema
from saga_es.api.fields import Text
from saga_es.api.filters import filter_of
from saga_es.api.problems import Problem
from saga_es.api.responses import json_response, node
from saga_es.api.sagas import blueprint
from saga_es.core.batches import COMMANDS, BatchStarted, BatchState, command_of
from saga_es.core.state import SagaStatus
from saga_es.errors import NotFound
from saga_es.node.node import Node
from saga_es.runtime.command_batches.batches import BatchRefused, Progress
from saga_es.runtime.command_batches.selection import Selection, select

saga_blueprint = failures.saga_blueprint
"""The blueprint of the saga API, with the routes of this module too."""

LONGEST_REASON = 1900
"""Characters of a batch's reason: the mark of the batch is added to it."""

PACE = 10.0
STOPS_AFTER = 10

PERMISSIONS: Mapping[str, Permission] = {
    **dict.fromkeys(("retry", "resume", "pause", "cancel"), Permission.OPERATE),
    **dict.fromkeys(("skip", "fail", "resolve"), Permission.RESOLVE),
}
"""What the sender of a batch must be permitted."""


class BatchFilterSchema(FailureFilterSchema):
    """Which sagas; without a status: those that could follow the command."""

    fingerprint = fields.String(
        load_default=None,
        validate=validate.Regexp(r"[0-9a-f]{16}\Z"),
        metadata={"description": "The group of failures that they are in."},
    )


class BatchSchema(CommandSchema):
    """One command for many sagas."""

    command = fields.String(required=True, validate=validate.OneOf(COMMANDS))
    filter = fields.Nested(BatchFilterSchema, required=True)
    dry_run = fields.Boolean(load_default=False, metadata={"description": "Only say how many sagas it would hit."})
    reason = Text(LONGEST_REASON, required=True)
    step = Text(load_default=None, metadata={"description": "For `skip`: the step's key."})
    status = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf([SagaStatus.COMPLETED, SagaStatus.COMPENSATED]),
        metadata={"description": "For `resolve`: how they ended."},
    )
    pace = fields.Float(load_default=PACE, validate=validate.Range(1, 100), metadata={"description": "Sagas a second."})
    stops_after = fields.Integer(
        load_default=STOPS_AFTER,
        allow_none=True,
        validate=validate.Range(1, 5000),
        metadata={"description": "It stops by itself when so many sagas have failed again; null: it does not."},
    )

    @validates_schema
    def check_step(self, data: dict[str, Any], **_: Any) -> None:
        """A skip names the step."""
        if data["command"] == "skip" and not data["step"]:
            raise ValidationError("a batch of `skip` names the step", "step")


class BatchStopSchema(CommandSchema):
    """Who stops a batch, and why."""


class BatchSampleSchema(Schema):
    """One of the sagas."""

    transaction_id = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True)
    error = fields.String(required=True, allow_none=True)
    updated_at = fields.AwareDateTime(required=True)


class BatchSelectionSchema(Schema):
    """What a batch would hit now."""

    count = fields.Integer(required=True)
    sample = fields.List(
        fields.Nested(BatchSampleSchema), required=True, metadata={"description": "The newest four, and the oldest."}
    )
    left_out = fields.Integer(
        required=True, metadata={"description": "Sagas that meet the filter but cannot follow the command."}
    )
    is_complete = fields.Boolean(required=True, metadata={"description": "false: only the newest 5,000 were read."})


class BatchProgressSchema(Schema):
    """How far a batch is."""

    batch_id = fields.String(required=True)
    command = fields.String(required=True)
    status = fields.String(required=True, metadata={"description": "running, stopped or ended"})
    actor = fields.String(required=True)
    reason = fields.String(required=True)
    filter = fields.Dict(required=True)
    about = fields.Dict(required=True)
    count = fields.Integer(required=True)
    moved_on = fields.Integer(required=True)
    failed_again = fields.Integer(required=True)
    left_alone = fields.Integer(required=True)
    to_go = fields.Integer(required=True)
    stopped_by = fields.String(required=True, allow_none=True)
    stopped_because = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class BatchRowSchema(Schema):
    """One batch in the list."""

    batch_id = fields.String(required=True)
    command = fields.String(required=True)
    status = fields.String(required=True)
    actor = fields.String(required=True)
    reason = fields.String(required=True)
    size = fields.Integer(required=True)
    upto = fields.Integer(required=True)
    owner = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class BatchesSchema(Schema):
    """The newest batches."""

    batches = fields.List(fields.Nested(BatchRowSchema), required=True)


def check_permission(command: str) -> None:
    """Check that the sender may give this command.

    Raises:
        Problem: 403.
    """
    if not principal().may(PERMISSIONS[command]):
        raise Problem(403, f"a permission is needed for this, and {principal().name!r} lacks {PERMISSIONS[command]!s}")


def seen_batch(batch_id: str) -> BatchState:
    """A batch, if the sender of the request may see it: who sees but some sagas sees the batches of those alone.

    Raises:
        NotFound: It is not there for them.
    """
    state = node().batches.find(batch_id)
    if not _is_seen(state):
        raise NotFound(batch_id)
    return state


def _is_seen(state: BatchState) -> bool:
    return scope() is None or scope() == state.started.scope


def newest_batches() -> list[dict[str, Any]]:
    """The newest batches that the sender of the request may see."""
    batches = node().batches
    rows = [{**row, "reason": shown_error(row["reason"])} for row in batches.newest()]
    return rows if scope() is None else [row for row in rows if _is_seen(batches.find(row["batch_id"]))]


def batch_of(body: dict[str, Any]) -> BatchStarted:
    """The batch that a body asks for, without its sagas."""
    asked = {name: value for name, value in body["filter"].items() if value not in (None, [])}
    asked |= {"tag": [":".join(tag) for tag in asked["tag"]]} if "tag" in asked else {}
    about = {name: body[name] for name in ("step", "status") if body.get(name)}
    by = acting(body.get("actor"))
    return BatchStarted(
        *(body["command"], (), asked, str(by["actor"]), body["reason"], body["pace"]),
        about=about,
        stops_after=body["stops_after"],
        on_behalf_of=by.get("on_behalf_of"),
        scope=scope(),
    )


def selected(here: Node, batch: BatchStarted, wanted: dict[str, Any]) -> Selection:
    """The sagas that a batch would hit now."""
    command, group = command_of(batch, "0" * 36), wanted["fingerprint"]
    return select(here.database, here.store, batch.command, command, filter_of(wanted), group, datetime.now(UTC))


@blueprint.post("/batch")
@blueprint.arguments(BatchSchema)
@blueprint.response(200, BatchSelectionSchema, description="dry_run: what it would hit")
@blueprint.alt_response(409, "CONFLICT")
@permits(Permission.READ)
def start_batch(body: dict[str, Any]) -> Response:
    """Give one command to all sagas that meet a filter and can follow it: recorded at once, done in the background."""
    check_permission(body["command"])
    check_error_filter(body["filter"]["error"])
    here, batch = node(), batch_of(body)
    found = selected(here, batch, body["filter"])
    if body["dry_run"]:
        about = {"left_out": found.left_out, "is_complete": found.is_complete}
        return json_response({"count": len(found.saga_ids), "sample": found.sample, **about})
    try:
        batch_id = here.batches.start(msgspec.structs.replace(batch, saga_ids=tuple(found.saga_ids)))
    except BatchRefused as error:
        raise Problem(409, str(error)) from error
    here.batch_runner.wake()
    headers = {"Location": url_for("saga.show_batch", batch_id=batch_id)}
    return json_response({"batch_id": batch_id, "count": len(found.saga_ids)}, HTTPStatus.ACCEPTED, headers)


@blueprint.get("/batch")
@blueprint.response(200, BatchesSchema)
@permits(Permission.READ)
def list_batches() -> Response:
    """The newest batches."""
    return json_response({"batches": newest_batches()})


@blueprint.get("/batch/<string:batch_id>")
@blueprint.response(200, BatchProgressSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@permits(Permission.READ)
def show_batch(batch_id: str) -> Response:
    """How far a batch is: how many sagas moved on, failed again, were left alone, are to go."""
    seen_batch(batch_id)
    return json_response(_shown(node().batches.progress(batch_id)))


def _shown(progress: Progress) -> Progress:
    """A batch as the sender of the request may see it: what people wrote is shown like other payloads."""
    if sees_payloads():
        return progress
    words = {"reason": shown_error(progress.reason), "stopped_because": shown_error(progress.stopped_because)}
    return msgspec.structs.replace(progress, filter={}, **words)


@blueprint.post("/batch/<string:batch_id>/stop")
@blueprint.arguments(BatchStopSchema)
@blueprint.response(200, BatchProgressSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(409, "CONFLICT")
@permits(Permission.READ)
def stop_batch(body: dict[str, Any], batch_id: str) -> Response:
    """Stop a batch: the rest of its sagas is left as it is."""
    check_permission(seen_batch(batch_id).started.command)
    try:
        node().batches.stop(batch_id, str(acting(body.get("actor"))["actor"]), body["reason"])
    except BatchRefused as error:
        raise Problem(409, str(error)) from error
    return json_response(node().batches.progress(batch_id))
