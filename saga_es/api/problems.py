"""All errors as `application/problem+json` (RFC 9457), including errors that the framework raises."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, request
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

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
from saga_es.logs import logger
from saga_es.store.encryption.errors import NoKey

RETRY_AFTER_S = 2
LONGEST_DETAIL = 2000
LONGEST_FIELD = 100
MOST_FIELDS = 20
"""Of more fields at fault the others are counted: an answer is not larger than what was asked."""


class Problem(Exception):
    """An error that is answered as a problem.

    Args:
        status: The HTTP status.
        detail: What is wrong and what to do about it.
        errors: Messages by field, when fields are invalid.
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
        """The problem as an HTTP response."""
        title = HTTPStatus(self.status).phrase
        detail = _short(self.detail, LONGEST_DETAIL)
        body: dict[str, Any] = {"type": "about:blank", "title": title, "status": self.status, "detail": detail}
        if self.errors:
            body["errors"] = self.errors
        response = Response(msgspec.json.encode(body), self.status, content_type="application/problem+json")
        response.headers.update(self.headers or {})
        return response


class ProblemSchema(Schema):
    """A problem document (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))


def register_problem_handlers(app: Flask | Blueprint) -> None:
    """Answer every error of an application, or of a blueprint's own routes, with a problem."""
    app.register_error_handler(Problem, Problem.response)
    app.register_error_handler(HTTPException, lambda error: _of_framework(error).response())
    app.register_error_handler(SagaError, lambda error: _of_saga_error(error).response())
    app.register_error_handler(Exception, lambda error: _of_bug(error).response())


def _of_framework(error: HTTPException) -> Problem:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, RequestEntityTooLarge):
        limit = request.max_content_length
        return Problem(status, f"the request is larger than {limit} bytes; see the setting SAGA_ES_PAYLOAD_LIMIT")
    # webargs puts the messages of a failed validation here, under their source: json, query ...
    messages = getattr(error, "data", {}).get("messages", {})
    found = [item for place in messages.values() if isinstance(place, dict) for item in place.items()]
    errors = {
        "body" if field == "_schema" else _short(str(field), LONGEST_FIELD): _flat(told)[:MOST_FIELDS]
        for field, told in found[:MOST_FIELDS]
    }
    if errors:
        more = f" and {len(found) - MOST_FIELDS} more" if len(found) > MOST_FIELDS else ""
        return Problem(status, f"{', '.join(errors)}{more}: see errors", errors)
    detail = "; ".join(text for place in messages.values() if isinstance(place, list) for text in place)
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return Problem(status, detail or error.description or HTTPStatus(status).phrase, headers=headers)


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _flat(messages: Any, where: str = "") -> list[str]:
    """The messages about a field as one list; a message about a nested field begins with its name."""
    match messages:
        case dict():
            return [line for field, nested in messages.items() for line in _flat(nested, f"{where}{field}: ")]
        case list():
            return [f"{where}{line}" for line in messages]
        case _:
            return [f"{where}{messages}"]


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
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}; a newer version can read it")
        case PayloadTooLarge():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        case CommandRefused(key_reused=True):
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), {"Idempotency-Key": [str(error)]})
        case CommandRefused() | NoKey():
            return Problem(HTTPStatus.CONFLICT, str(error))
        case PayloadUnencodable() | BadTags() | BadStart() | BadStreamId():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case StoreUnavailable():
            logger.warning("answered 503", reason=str(error))
            what = "this server is stopping" if isinstance(error, EngineStopped) else "the database is away"
            detail = f"{what}; nothing is lost, try again"
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
        case _:
            return _of_bug(error)


def _of_bug(error: Exception) -> Problem:
    logger.error("a request failed", exc_info=error)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an internal error occurred; the server's log has the details")
