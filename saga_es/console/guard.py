"""Guards of the pages: the policy of content, and the checks of a form that changes something."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256

from flask import Request, Response

from saga_es.api.guards import check_site, with_headers
from saga_es.api.problems import Problem

POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

COOKIE = "saga_es_csrf"
LANGUAGE_COOKIE, THEME_COOKIE = "saga_es_language", "saga_es_theme"
FIELD = "csrf"

_OWN_KEY = secrets.token_bytes(32)
"""Signs tokens when the application has no secret key: they are good in this process, until it ends."""


class Forged(Exception):
    """A form did not come from a page of this console, or its page is too old; the words say what to do."""


class Tokens:
    """Makes and checks tokens: the form carries what the key signs of the cookie, which only this site can set.

    Args:
        key: The application's secret key; None: one of this process.
    """

    def __init__(self, key: str | bytes | None) -> None:
        self._key = key.encode() if isinstance(key, str) else key or _OWN_KEY

    def token(self, cookie: str) -> str:
        """The token that belongs to a cookie."""
        return hmac.new(self._key, f"saga_es console {cookie}".encode(), sha256).hexdigest()

    def check(self, request: Request) -> None:
        """Check a request that changes something.

        Raises:
            Forged: Its origin is another, or its token is not that of its cookie.
        """
        try:
            check_site()
        except Problem as error:
            raise Forged(error.detail) from error
        cookie, given = request.cookies.get(COOKIE, ""), request.form.get(FIELD, "")
        if not cookie or not hmac.compare_digest(self.token(cookie).encode(), given.encode()):
            raise Forged("its token is not the one of this page; the server may have started anew: send it again")


def guarded(response: Response) -> Response:
    """The response with the headers of every page."""
    response.headers["Content-Security-Policy"] = POLICY
    if response.direct_passthrough:  # a file, whose address changes with its content
        response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return with_headers(response)


def new_cookie() -> str:
    """A cookie for somebody who has none."""
    return secrets.token_urlsafe(24)
