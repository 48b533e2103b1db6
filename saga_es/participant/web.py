"""The barrier in a Flask application: it reads a call's key, and answers calls that the barrier refuses."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from flask import Blueprint, Flask, Response, request

from saga_es.participant.barrier import BadKey, TooLate, TryAgain

RETRY_AFTER_S = 1


def takes_part(app: Flask | Blueprint) -> None:
    """Register error handlers, on an application or a blueprint, for calls that the barrier refuses.

    They answer with a problem document (RFC 9457): `TooLate` with 409, `TryAgain` with 503 and `Retry-After`, `BadKey`
    with 400.
    """
    app.register_error_handler(BadKey, lambda error: problem(HTTPStatus.BAD_REQUEST, error))
    app.register_error_handler(TooLate, lambda error: problem(HTTPStatus.CONFLICT, error))
    app.register_error_handler(TryAgain, _try_again)


def call_key() -> str | None:
    """The `Idempotency-Key` of the present request; None for a request outside any saga."""
    return request.headers.get("Idempotency-Key") or None


def reply_to() -> str | None:
    """The URL to which the end of the present call may be posted later, if this request is answered with 202.

    None: the call accepts no 202, or its end is looked for at the `Location` of the answer alone.
    """
    return request.headers.get("X-Saga-Reply-To") or None


def _try_again(error: Exception) -> Response:
    response = problem(HTTPStatus.SERVICE_UNAVAILABLE, error)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def problem(status: HTTPStatus, error: object) -> Response:
    """A problem document (RFC 9457) as the answer."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": str(error)}
    return Response(msgspec.json.encode(body), status, content_type="application/problem+json")
