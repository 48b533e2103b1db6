"""The API for an existing saga: commands, signals, and the explanation why it is not moving."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import flask
import msgspec
from flask import Response, request
from marshmallow import Schema, fields, validate
from msgspec.structs import replace

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import acting, known_actor
from saga_es.api.execution import KEY_LIMIT, given_key
from saga_es.api.fields import Text
from saga_es.api.problems import Problem
from saga_es.api.responses import check_seen, json_response, node
from saga_es.api.sagas import SagaSchema, blueprint
from saga_es.core.commands import Cancel, Command, Fail, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.operate import preview
from saga_es.core.state import SagaStatus
from saga_es.errors import BadStreamId, NotFound
from saga_es.node.explain import explained
from saga_es.runtime.intake.commands import LONGEST_WORDS
from saga_es.runtime.migrating import migrate_to, previewed
from saga_es.store.queries.past import story_at

Body = dict[str, Any]

saga_blueprint = blueprint
"""The blueprint of the saga API: the routes that read sagas, and the routes of this module."""


class CommandSchema(Schema):
    """Who gives a command, and why; the log keeps both for ever."""

    actor = Text(
        metadata={"description": "Who gives the command; with credentials: on whose behalf their owner gives it."},
    )
    reason = Text(LONGEST_WORDS, required=True)


class StepCommandSchema(CommandSchema):
    """A command about one step."""

    step = Text(required=True, metadata={"description": "The step's key; for an element `key[index]`."})


class InputCommandSchema(StepCommandSchema):
    """A command that gives a step another input."""

    input = fields.Dict(required=True, keys=fields.String(), values=fields.Raw(allow_none=True))


class ResolveSchema(CommandSchema):
    """How a person ended a saga by hand."""

    status = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf([SagaStatus.COMPLETED, SagaStatus.COMPENSATED]),
        metadata={"description": "The default: COMPENSATED when the saga had aborted, otherwise COMPLETED."},
    )


class UndoingSchema(Schema):
    """One step that a cancel would compensate."""

    step = fields.String(required=True)
    title = fields.String(required=True)
    why = fields.String(
        required=True, metadata={"description": "done, in doubt, or out: the call is in flight and is awaited first"}
    )


class PreviewSchema(Schema):
    """The steps that a cancel would compensate, in the order in which their compensations would begin."""

    transaction_id = fields.String(required=True)
    would_compensate = fields.List(fields.Nested(UndoingSchema), required=True)


class StepChangeSchema(Schema):
    """One step of the old plan or of the new one."""

    step = fields.String(required=True)
    was = fields.String(required=True, allow_none=True, metadata={"description": "Its name in the old plan."})
    fate = fields.String(required=True, metadata={"description": "stays, renamed, added or dropped"})
    status = fields.String(required=True)


class MigrationSchema(Schema):
    """What a migration would do."""

    transaction_id = fields.String(required=True)
    saga = fields.String(required=True)
    from_plan = fields.String(required=True)
    to_plan = fields.String(required=True)
    renamed = fields.Dict(required=True, keys=fields.String(), values=fields.String())
    steps = fields.List(fields.Nested(StepChangeSchema), required=True)
    refused = fields.List(fields.String(), required=True, metadata={"description": "Why; empty when it can be done."})


class SignalledSchema(Schema):
    """The answer to a signal: it is recorded."""

    transaction_id = fields.String(required=True)
    signal = fields.String(required=True)
    status = fields.String(required=True)
    version = fields.Integer(required=True)


class ExplanationSchema(Schema):
    """Why a saga is not moving, or how it has ended."""

    transaction_id = fields.String(required=True)
    status = fields.String(required=True)
    sentence = fields.String(required=True)
    reasons = fields.List(
        fields.String(),
        required=True,
        metadata={"description": 'Each completes "The saga …"; the most important first.'},
    )


# ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────


def _command(name: str, schema: type[Schema] = CommandSchema) -> Callable[[Callable[[Body], Command]], Any]:
    """Make a route that submits the command which the decorated function makes from a body."""

    def decorate(to_command: Callable[[Body], Command]) -> Any:
        @blueprint.post(f"/<string:transaction_id>/{name}")
        @blueprint.arguments(schema)
        @blueprint.response(200, SagaSchema)
        @blueprint.alt_response(404, "NOT_FOUND")
        @blueprint.alt_response(410, "GONE")
        @blueprint.alt_response(409, "CONFLICT")
        @wraps(to_command)
        def route(body: Body, transaction_id: str) -> Response:
            _submit(transaction_id, to_command(body | acting(body.get("actor"))))
            return json_response(story_at(node().store.sagas, transaction_id)[0])

        _alias(name, route, "POST")
        return route

    return decorate


def _alias(name: str, route: Callable[..., Any], method: str) -> None:
    """Serve a route also below `/orders/`, its older path; the document names only the shorter path."""
    path, endpoint = f"/<string:transaction_id>/orders/{name}", f"orders-{name}-{method}".lower()
    flask.Blueprint.add_url_rule(blueprint, path, endpoint, route, methods=[method], merge_slashes=False)


def _submit(transaction_id: str, command: Command) -> None:
    check_seen(transaction_id)
    try:
        node().engine.submit(transaction_id, command)
    except BadStreamId as error:  # no saga can have an id that the log refuses
        raise NotFound(transaction_id) from error


@_command("cancel")
@permits(Permission.OPERATE)
def cancel(body: Body) -> Command:
    """Abort a saga: the steps that were done are compensated, last first."""
    return Cancel(**body)


@_command("pause")
@permits(Permission.OPERATE)
def pause(body: Body) -> Command:
    """Pause a saga: it begins nothing more until it is resumed; the answers of calls in flight are recorded."""
    return Pause(**body)


@_command("resume")
@permits(Permission.OPERATE)
def resume(body: Body) -> Command:
    """Resume a paused saga."""
    return Resume(**body)


@_command("retry")
@permits(Permission.OPERATE)
def retry(body: Body) -> Command:
    """Retry at once what waits for a retry; in a FAILED saga, retry what was given up."""
    return Retry(**body)


@_command("skip", StepCommandSchema)
@permits(Permission.RESOLVE)
def skip(body: Body) -> Command:
    """In a FAILED saga, count a step that blocks it, or its compensation, as done, and go on."""
    return Skip(**body)


@_command("replace-input", InputCommandSchema)
@permits(Permission.RESOLVE)
def replace_input(body: Body) -> Command:
    """In a FAILED saga, give a step that blocks it another input, and retry it."""
    return ReplaceInput(**body)


@_command("fail")
@permits(Permission.RESOLVE)
def fail(body: Body) -> Command:
    """Give a saga up as it stands: it is FAILED, nothing is undone, and a person decides what becomes of it."""
    return Fail(**body)


@_command("resolve", ResolveSchema)
@permits(Permission.RESOLVE)
def resolve(body: Body) -> Command:
    """End a FAILED saga that a person has set right by hand, and say how it ended."""
    return Resolve(**body)


@blueprint.post("/<string:transaction_id>/migrate")
@blueprint.arguments(CommandSchema)
@blueprint.response(200, SagaSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@blueprint.alt_response(409, "CONFLICT")
@permits(Permission.RESOLVE)
def migrate(body: Body, transaction_id: str) -> Response:
    """Let a saga go on under the present plan of its definition: what has begun stays, the rest follows that plan."""
    state = check_seen(transaction_id)
    engine, by = node().engine, acting(body.get("actor"))
    command = migrate_to(engine.current(state), str(by["actor"]), body["reason"])
    _submit(transaction_id, replace(command, **by))
    return json_response(story_at(node().store.sagas, transaction_id)[0])


@blueprint.get("/<string:transaction_id>/migrate")
@blueprint.response(200, MigrationSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@blueprint.alt_response(409, "CONFLICT")
@permits(Permission.READ)
def preview_migrate(transaction_id: str) -> Response:
    """Show what a migration would do with each step, and why it would be refused, and change nothing."""
    state = check_seen(transaction_id)
    return json_response(previewed(state, node().engine.current(state)))


@blueprint.get("/<string:transaction_id>/cancel")
@blueprint.response(200, PreviewSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@blueprint.alt_response(409, "CONFLICT")
@permits(Permission.READ)
def preview_cancel(transaction_id: str) -> Response:
    """Show the steps that a cancel would compensate, in order, and change nothing."""
    state = check_seen(transaction_id)
    return json_response({"transaction_id": transaction_id, "would_compensate": preview(state)})


_alias("cancel", preview_cancel, "GET")


# ── Signals ──────────────────────────────────────────────────────────────────────────────────────────────

_SIGNAL: Body = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LIMIT},
            "description": "The same key twice is one signal.",
        }
    ],
    "requestBody": {
        "description": "The payload of the signal, which is the result of the step: any JSON. The default: null.",
        "content": {"application/json": {"schema": {}}},
    },
}


@blueprint.post("/<string:transaction_id>/signals/<string:signal>")
@blueprint.doc(**_SIGNAL)
@blueprint.response(202, SignalledSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@blueprint.alt_response(409, "CONFLICT")
@permits(Permission.SIGNAL)
def send_signal(transaction_id: str, signal: str) -> Response:
    """Send a saga the signal that its step of this name waits for; a signal that arrives early is kept."""
    _submit(transaction_id, SendSignal(signal, _payload(), given_key(), known_actor()))
    story = story_at(node().store.sagas, transaction_id)[0]
    about = {"transaction_id": transaction_id, "signal": signal, "status": story.status, "version": story.version}
    return json_response(about, 202)


def _payload() -> Any:
    body = request.get_data()
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error


# ── Why ──────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/<string:transaction_id>/explain")
@blueprint.response(200, ExplanationSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@permits(Permission.READ)
def explain(transaction_id: str) -> Response:
    """Explain in one sentence why a saga is not moving, or how it has ended."""
    return json_response(explained(node(), transaction_id))
