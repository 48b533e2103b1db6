"""Run a saga for a request: answer when it has ended, or answer 202 with the place of its status."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Response, request, url_for
from marshmallow import Schema, fields
from werkzeug.routing import BuildError

from saga_es.api.access import check_covers, principal, starter
from saga_es.api.problems import Problem
from saga_es.api.responses import json_response, node
from saga_es.api.waiting import waiting_for_a_saga
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StoreUnavailable
from saga_es.node.webhooks import ID, VIA
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.waiting import outage

KEY_LIMIT = 255

EXECUTION_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LIMIT},
        "description": "The same key and body give the same saga and answer, run once. Another body gives 422.",
    },
    {
        "name": "Prefer",
        "in": "header",
        "schema": {"type": "string"},
        "description": "respond-async: answer 202 as soon as the saga is in the log (RFC 7240).",
    },
]


class ExecutionSchema(Schema):
    """How a saga ended."""

    success = fields.Boolean(required=True)
    transaction_id = fields.String(required=True)
    status = fields.String(required=True)
    message = fields.String(required=True)
    completed_steps = fields.Integer()
    results = fields.Dict(keys=fields.String(), values=fields.Raw())
    failed_step = fields.String(allow_none=True)
    rollback_completed = fields.Boolean()
    error = fields.String(allow_none=True)


class StartedSchema(Schema):
    """A saga that goes on in the background."""

    transaction_id = fields.String(required=True)
    status = fields.String(required=True)


def execute(saga: Saga, input_: dict[str, Any]) -> Response:
    """Run a saga for the current request, by its headers `Idempotency-Key` and `Prefer`.

    Raises:
        Problem: The key is invalid, or too many requests wait for their sagas; then none was started.
        SagaExists: The key was used with another body.
        StoreUnavailable: The database did not commit the start.
    """
    if _prefers_async():
        return _execute(saga, input_, waits=False)
    with waiting_for_a_saga(request.environ):
        return _execute(saga, input_, waits=True)


def _execute(saga: Saga, input_: dict[str, Any], *, waits: bool) -> Response:
    check_covers(saga.name)
    handle = node().engine.start(saga, input_, key=given_key(), by=starter(), wait=False)
    timeout_s = node().settings.execute_timeout_s
    try:
        if not waits:
            handle.started(timeout=min(timeout_s, outage.COMMIT_TIMEOUT_S))
            return _accepted(handle.saga_id)
        return _answer(_result(handle, timeout_s), len(saga.plan.steps))
    except TimeoutError:
        _make_sure_it_began(handle)
        return _accepted(handle.saga_id)


def _result(handle: Handle, timeout_s: float) -> SagaResult:
    """The result of the saga; while the database is away no request waits for it, because each wait holds a thread.

    Raises:
        TimeoutError: The saga has not ended yet.
        StoreUnavailable: The database is away, or did not commit the start.
    """
    while timeout_s > outage.COMMIT_TIMEOUT_S:
        try:
            return handle.result(timeout=outage.COMMIT_TIMEOUT_S)
        except TimeoutError:
            _make_sure_it_began(handle)
        timeout_s -= outage.COMMIT_TIMEOUT_S
    return handle.result(timeout=timeout_s)


def _make_sure_it_began(handle: Handle) -> None:
    if node().store.sagas.find(handle.saga_id) is None:
        raise StoreUnavailable("the saga's start was not committed in time")


def given_key() -> str | None:
    """The idempotency key of the current request; None when it has none.

    Raises:
        Problem: The key is empty or too long.
    """
    key = request.headers.get(ID if principal().via == VIA else "Idempotency-Key")
    if key is not None and not 0 < len(key) <= KEY_LIMIT:
        why = f"an idempotency key has 1 to {KEY_LIMIT} characters, not {len(key)}"
        raise Problem(422, why, {"Idempotency-Key": [why]})
    return key


def _prefers_async() -> bool:
    preferences = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(preference.partition(";")[0].strip().lower() == "respond-async" for preference in preferences)


def _accepted(saga_id: str) -> Response:
    state = node().store.sagas.find(saga_id)
    status = state.status if state else SagaStatus.PENDING
    headers = {"Location": _place_of(saga_id)}
    return json_response({"transaction_id": saga_id, "status": status}, 202, headers)


def _place_of(saga_id: str) -> str:
    """The path of a saga's status, as the caller sees it: behind a proxy it has a prefix."""
    try:
        return url_for("saga.status", transaction_id=saga_id)
    except BuildError:  # this process serves other blueprints
        return f"{request.script_root}/api/saga/status/{quote(saga_id, safe='')}"


def _answer(result: SagaResult, steps: int) -> Response:
    about: dict[str, Any] = {"transaction_id": result.saga_id, "status": result.status}
    if result.completed:
        done = len(result.results)
        message = f"All {steps} steps of {result.name!r} are done."
        if done < steps:
            message = f"{done} of the {steps} steps of {result.name!r} are done, the others were skipped."
        return json_response(
            {"success": True, **about, "message": message, "completed_steps": done, "results": result.results}
        )
    undone = result.status is SagaStatus.COMPENSATED
    body = {
        "success": False,
        **about,
        "message": _why_undone(result) if undone else "The saga cannot go on: it needs a person.",
        "failed_step": result.failed_step,
        "rollback_completed": undone,
        "error": result.error,
    }
    return json_response(body, 409 if undone else 500)


def _why_undone(result: SagaResult) -> str:
    if result.failed_step is None:  # it was cancelled, or its deadline passed
        return f"The saga aborted ({result.error}); what was done is undone."
    return f"Step {result.failed_step!r} failed; what was done before is undone."
