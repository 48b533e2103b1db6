"""Errors as `application/problem+json` (RFC 9457): every one, also those the framework raises."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from flask import Blueprint, Flask, Response, current_app, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from saga_es.api.blueprint import JSON
from saga_es.errors import (
    BadStart,
    BadStreamId,
    BadTags,
    CommandRefused,
    EngineStopped,
    NoSuchPosition,
    NoSuchVersion,
    NotFound,
    PayloadTooLarge,
    PayloadUnencodable,
    SagaArchived,
    SagaError,
    SagaExists,
    StoreUnavailable,
    UnreadableEvent,
)

logger = structlog.get_logger("saga_es")

RETRY_AFTER_S = 2


class Problem(Exception):
    """Raise it to answer with a problem.

    Args:
        status: The HTTP status.
        detail: What is wrong and what to do about it.
        errors: Messages by field, where fields are at fault.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers

    def response(self) -> Response:
        """The answer."""
        title = HTTPStatus(self.status).phrase
        body: dict[str, Any] = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        if self.errors:
            body["errors"] = self.errors
        response = Response(msgspec.json.encode(body), self.status, content_type="application/problem+json")
        response.headers.update(self.headers or {})
        return response


class ProblemSchema(Schema):
    """RFC 9457."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))


def register_problem_handlers(app: Flask | Blueprint) -> None:
    """Have an application answer every error with a problem, or a blueprint those of its own routes."""
    app.register_error_handler(Problem, Problem.response)
    app.register_error_handler(HTTPException, lambda error: _of_framework(error).response())
    app.register_error_handler(SagaError, lambda error: _of_saga_error(error).response())
    app.register_error_handler(Exception, lambda error: _of_bug(error).response())


def only_json() -> None:
    """A body that does not say it is JSON would be passed over, and every field reported missing."""
    if request.environ.get("CONTENT_TYPE") == JSON:  # nearly always, and told in a tenth of the time
        return
    if request.content_length and not request.is_json:
        found = request.mimetype or "none"
        raise Problem(415, f"the body must be JSON; send Content-Type: application/json, not {found}")


def _of_framework(error: HTTPException) -> Problem:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, RequestEntityTooLarge):
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return Problem(status, f"the request is larger than {limit} bytes; see the setting SAGA_ES_PAYLOAD_LIMIT")
    # webargs puts the messages of a failed validation here, under the place they came from: json, query ...
    messages = getattr(error, "data", {}).get("messages", {})
    errors = {
        "body" if field == "_schema" else field: _flat(said)
        for place in messages.values()
        if isinstance(place, dict)
        for field, said in place.items()
    }
    if errors:
        return Problem(status, f"{', '.join(errors)}: see errors", errors)
    detail = "; ".join(said for place in messages.values() if isinstance(place, list) for said in place)
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return Problem(status, detail or error.description or HTTPStatus(status).phrase, headers=headers)


def _flat(said: Any, where: str = "") -> list[str]:
    """The messages about a field as one list; those about a part of it say which part."""
    match said:
        case dict():
            return [line for part, about in said.items() for line in _flat(about, f"{where}{part}: ")]
        case list():
            return [f"{where}{line}" for line in said]
        case _:
            return [f"{where}{said}"]


def _of_saga_error(error: SagaError) -> Problem:  # noqa: C901, PLR0911 (a table: one answer an error)
    match error:
        case NotFound() | NoSuchVersion() | NoSuchPosition():
            return Problem(HTTPStatus.NOT_FOUND, str(error))
        case SagaArchived():
            return Problem(HTTPStatus.GONE, str(error))
        case SagaExists():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), {"Idempotency-Key": [str(error)]})
        case UnreadableEvent():
            logger.error("a saga cannot be read", reason=str(error))
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}; it takes a version that knows it")
        case PayloadTooLarge():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        case CommandRefused():
            return Problem(HTTPStatus.CONFLICT, str(error))
        case PayloadUnencodable() | BadTags() | BadStart() | BadStreamId():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case StoreUnavailable():
            logger.warning("answered 503", reason=str(error))
            what = "this server is stopping" if isinstance(error, EngineStopped) else "the database is away"
            detail = f"{what}; nothing is lost, ask again"
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
        case _:
            return _of_bug(error)


def _of_bug(error: Exception) -> Problem:
    logger.error("a request failed", exc_info=error)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; the server's log says what")
