"""Guards of the pages: the policy of content, and the checks of a form that changes something."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256

from flask import Request, Response, current_app
from sqlalchemy.exc import DBAPIError

from saga_es.api.guards import check_site, with_headers
from saga_es.api.problems import Problem
from saga_es.api.responses import node
from saga_es.errors import SagaError
from saga_es.store.shared_secrets import shared_secret

POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

COOKIE = "saga_es_csrf"
LANGUAGE_COOKIE, THEME_COOKIE, KEYS_COOKIE = "saga_es_language", "saga_es_theme", "saga_es_keys"
FIELD = "csrf"

_OWN_KEY = secrets.token_bytes(32)
"""Signs tokens when no other key can be had: they are good in this process, until it ends."""

_SHARED = "saga_es.console.key"


class Forged(Exception):
    """A form did not come from a page of this console, or its page is too old; the words say what to do."""


class Tokens:
    """Makes and checks tokens: the form carries what the key signs of the cookie, which only this site can set.

    Args:
        key: The key that signs; None: one of this process.
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


def tokens() -> Tokens:
    """The tokens of the present application: signed with its secret key, else with one that its database keeps.

    All processes on one database accept each other's forms. While the database is away, or may not be written, the key
    is one of this process.
    """
    if current_app.secret_key is not None:
        return Tokens(current_app.secret_key)
    kept = current_app.extensions
    if _SHARED not in kept:
        try:
            kept[_SHARED] = shared_secret(node().database, "console")
        except (SagaError, DBAPIError):
            return Tokens(None)
    return Tokens(kept[_SHARED])


def guarded(response: Response) -> Response:
    """The response with the headers of every page."""
    response.headers["Content-Security-Policy"] = POLICY
    if response.direct_passthrough:  # a file, whose address changes with its content
        response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return with_headers(response)


def new_cookie() -> str:
    """A cookie for somebody who has none."""
    return secrets.token_urlsafe(24)
