"""Erasing a subject over HTTP."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import Schema, fields

from saga_es.access.permissions import Permission, permits
from saga_es.access.subjects import NoSuchSubject
from saga_es.api import batches
from saga_es.api.access import acting, principal
from saga_es.api.commands import CommandSchema
from saga_es.api.fields import Text
from saga_es.api.problems import Problem
from saga_es.api.responses import json_response, node
from saga_es.api.sagas import blueprint
from saga_es.store.encryption.keyring import LONGEST

saga_blueprint = batches.saga_blueprint
"""The blueprint of the saga API, with the routes of this module too."""


class EraseSchema(CommandSchema):
    """Whom to erase, who asks for it, and why. The log keeps actor and reason, and not the subject."""

    subject = Text(LONGEST, required=True, metadata={"description": "As the inputs of its sagas name it."})


class ErasedSchema(Schema):
    """What the log has of it."""

    key_id = fields.String(required=True, metadata={"description": "The key that is gone: the stream of the record."})


@blueprint.post("/erase")
@blueprint.arguments(EraseSchema)
@blueprint.response(200, ErasedSchema)
@blueprint.alt_response(403, "FORBIDDEN")
@blueprint.alt_response(404, "NOT_FOUND")
@permits(Permission.ADMINISTER)
def erase_subject(body: dict[str, Any]) -> Response:
    """Delete the key of a subject of the sender's tenant: nobody can read any more what its sagas recorded."""
    sender = principal()
    if sender.sagas is not None:
        raise Problem(403, f"{sender.name!r} may act on some definitions alone, and a subject may have sagas of all")
    by = acting(body.get("actor"))
    actor = by["actor"] if not by.get("on_behalf_of") else f"{by['actor']} on behalf of {by['on_behalf_of']}"
    try:
        key_id = node().subjects.erase(body["subject"], str(actor), body["reason"], sender.tenant)
    except NoSuchSubject as error:
        raise Problem(404, str(error)) from error
    return json_response({"key_id": key_id})
