"""Replies of participants that took a call with 202: the URL of a reply is its credential."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from saga_es.access.permissions import Permission, permits
from saga_es.api import system
from saga_es.api.problems import Problem
from saga_es.api.responses import node
from saga_es.api.sagas import blueprint
from saga_es.runtime.calls.outcomes import LONGEST_RETRY_AFTER_S
from saga_es.runtime.calls.replies import command_of

saga_blueprint = system.saga_blueprint
"""The blueprint of the saga API, with the routes of this module too."""

_ENDS = [*range(200, 202), *range(203, 300), *range(400, 600)]
"""The statuses that end a call: 202 says that it goes on, and a redirect says nothing of it."""


class ReplySchema(Schema):
    """What a call came to, as its answer would have said it."""

    status = fields.Integer(load_default=200, validate=validate.OneOf(_ENDS, error="write 200 to 599, not 202 or 3xx"))
    body = fields.Raw(load_default=None, allow_none=True, metadata={"description": "The JSON of the answer."})
    retry_after = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, LONGEST_RETRY_AFTER_S),
        metadata={"description": "Seconds until the call may be made again, where it was refused for now."},
    )


@blueprint.post("/replies/<string:token>")
@blueprint.arguments(ReplySchema)
@blueprint.response(204)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@permits(Permission.REPLY)
def reply(body: dict[str, Any], token: str) -> Response:
    """Tell what a call came to that was answered with 202; a reply that comes twice, or late, changes nothing."""
    ours = node()
    taken = None if ours.replies is None else ours.replies.read(token)
    if taken is None:
        raise Problem(404, "no call has this URL for its reply, or SAGA_ES_CALLBACK_SECRET is another one now")
    ours.engine.submit(taken.saga_id, command_of(taken, body["status"], body["body"], body["retry_after"]))
    return Response(status=204)
