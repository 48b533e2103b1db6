"""Only calls whose signature is good are let in: the other side of `SAGA_ES_PARTICIPANT_<NAME>_SIGN`.

Whatever is wrong with a signature, the answer is the same 401: nobody learns which part to try next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus
from io import BytesIO
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote_to_bytes

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from saga_es.definition.credentials import Source
from saga_es.logs import logger
from saga_es.participant.web import problem
from saga_es.runtime.calls.address import LEFT_AS_IT_IS
from saga_es.runtime.calls.signing import (
    ALGORITHMS,
    COVERED,
    DIGEST,
    OF_A_SAGA,
    TAG,
    Key,
    Message,
    algorithm_of,
    key_of,
)
from saga_es.runtime.calls.sources import NoCredentials, text_of
from saga_es.runtime.calls.transport import IN_PROCESS, WsgiApp

WINDOW_S = 300
"""How many seconds the time of a signature may be away from ours, before or after: clocks differ."""

LARGEST_BODY = 1_048_576
RETRY_AFTER_S = 5

CALLER = "saga_es.verified_caller"
"""The entry of the WSGI environment that says whose signature is good; None: nobody's. No header can set it."""

App = TypeVar("App", bound=Flask | Blueprint | WsgiApp)


class _Bad(Exception):
    """There is no good signature."""


def verified(app: App, keys: Mapping[str, Source], *, base_url: str | None = None, required: bool = True) -> App:
    """Let only calls in that sagas have signed.

    Args:
        app: A Flask application or a blueprint, whose requests are looked at before anything else; or a WSGI
            application, in whose place the result is served.
        keys: The keys of callers by their ids: `ed25519 SOURCE` with a public key in PEM, or `hmac-sha256 SOURCE`; a
            source is a text, `env:NAME` or `file:/path`, read for each request; or a function that returns it all.
        base_url: The base URL by which sagas call this service. Without it, the header `Host` says what was called:
            name it where several services have the same key, or where a proxy ends TLS.
        required: Whether calls without a signature are refused, too. If they are not, they are strangers':
            `verified_caller()` is None, and `leaves_tombstone()` False. A bad signature is always refused.

    Returns:
        The application.

    Raises:
        ValueError: A key cannot be used.
    """
    door = _Door(keys, base_url, required=required)
    if isinstance(app, Flask | Blueprint):
        app.before_request(door.before_request)
        return app
    return cast("App", door.around(cast("WsgiApp", app)))


def verified_caller() -> str | None:
    """The id of the key by which the present request of Flask is signed; None: it is not."""
    return cast("str | None", request.environ.get(CALLER))


def leaves_tombstone() -> bool:
    """Whether the present request of Flask may undo what has not come yet, so that it is refused when it comes.

    A saga's may. Where callers are verified, it has to be signed: a stranger who guesses keys would have the calls of
    others refused.
    """
    says_so = "X-Saga-Id" in request.headers
    return says_so and (CALLER not in request.environ or verified_caller() is not None)


class _Door:
    """Looks at requests."""

    def __init__(self, keys: Mapping[str, Source], base_url: str | None, *, required: bool) -> None:
        self._keys = dict(keys)
        self._base_url = None if base_url is None else base_url.rstrip("/")
        self._required = required
        for key_id, source in self._keys.items():
            try:
                if not callable(source):
                    _key(source)
            except NoCredentials as error:
                raise ValueError(f"the key {key_id!r}: {error}") from error

    def before_request(self) -> Response | None:
        """As Flask asks: None lets the request in."""
        return self._checked(request.environ, request.get_data)

    def around(self, app: WsgiApp) -> WsgiApp:
        """An application that looks at requests before another."""

        def looks(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            def body() -> bytes:
                read = get_input_stream(environ, max_content_length=LARGEST_BODY).read()
                environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(read), str(len(read))
                return read

            try:
                refused = self._checked(environ, body)
            except RequestEntityTooLarge:
                refused = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {LARGEST_BODY} bytes")
            return app(environ, start_response) if refused is None else refused(environ, start_response)

        return looks

    def _checked(self, environ: dict[str, Any], body: Callable[[], bytes]) -> Response | None:
        try:
            environ[CALLER] = self._caller(environ, body)
        except _Bad as error:
            logger.warning("a call was refused: its signature is not good", why=str(error))
            return _unauthorized()
        except NoCredentials as error:
            logger.warning("a call cannot be verified", why=str(error))
            answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, "signatures cannot be verified now; repeat this call")
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        return None

    def _caller(self, environ: Mapping[str, Any], body: Callable[[], bytes]) -> str | None:
        """Who signed a request.

        Raises:
            _Bad: The signature is bad, or missing.
            NoCredentials: The key cannot be read.
        """
        if IN_PROCESS in environ:
            return "in process"
        if not self._required and "HTTP_SIGNATURE" not in environ and "HTTP_SIGNATURE_INPUT" not in environ:
            return None
        message = Message(environ["REQUEST_METHOD"], self._url(environ), _headers(environ))
        missing = [name for name in (DIGEST, *OF_A_SAGA) if name not in message.headers]
        if missing:
            raise _Bad(f"it has no {missing[0]}")
        failed: Exception = _Bad("it is by no known key")
        for algorithm in ALGORITHMS:
            try:
                return self._verified(message, algorithm, body)
            except _Bad as error:
                failed = error
        raise failed

    def _verified(self, message: Message, algorithm: str, body: Callable[[], bytes]) -> str:
        from http_message_signatures import HTTPMessageVerifier  # noqa: PLC0415 (an extra, decision 062)

        looked_up = _Lookup(self._keys, algorithm)
        verifier = HTTPMessageVerifier(signature_algorithm=looked_up.algorithm, key_resolver=cast("Any", looked_up))
        verifier.max_clock_skew = timedelta(seconds=WINDOW_S)
        try:
            results = verifier.verify(message, max_age=timedelta(0), expect_tag=TAG, require_components=COVERED)
            (result,) = verifier.verify_body(message, results, body())
        except RequestEntityTooLarge:
            raise
        except Exception as error:
            if looked_up.failed is not None:
                raise looked_up.failed from error
            raise _Bad(str(error)) from error
        return str(result.parameters["keyid"])

    def _url(self, environ: Mapping[str, Any]) -> str:
        """The URL that was called, as it was written."""
        script, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
        query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
        if self._base_url is not None:
            written = _written(environ, path) if not script else None
            return self._base_url + (written or _quoted(path) + query)
        host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        return f"{environ['wsgi.url_scheme']}://{host}" + (
            _written(environ, script + path) or _quoted(script + path) + query
        )


class _Lookup:
    """Finds the keys of one algorithm for the library.

    Attributes:
        failed: Why a key could not be read.
    """

    def __init__(self, keys: Mapping[str, Source], algorithm: str) -> None:
        self._keys = keys
        self._algorithm = algorithm
        self.algorithm = algorithm_of(Key(algorithm, None))
        self.failed: NoCredentials | None = None

    def resolve_public_key(self, key_id: str) -> Any:
        """The key of this id; None if there is none of this algorithm."""
        if key_id not in self._keys:
            return None
        try:
            found = _key(self._keys[key_id])
        except NoCredentials as error:
            self.failed = error
            return None
        return found.material if found.algorithm == self._algorithm else None

    def resolve_private_key(self, key_id: str) -> Any:
        """Nothing is signed here."""
        raise NotImplementedError(key_id)


def _key(source: Source) -> Key:
    algorithm, _, rest = (text_of(source) if callable(source) else source.strip()).partition(" ")
    if not rest.strip():
        raise NoCredentials("it has no algorithm and key; write `ed25519 file:/path` or `hmac-sha256 env:NAME`")
    return key_of(algorithm, rest.strip(), is_private=False)


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    return headers


def _written(environ: Mapping[str, Any], path: str) -> str | None:
    """The target as the client wrote it, if the server tells, and if it still is what the application sees."""
    target = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    if "://" in target.partition("?")[0]:  # absolute form
        target = "/" + target.partition("://")[2].partition("/")[2]
    raw, _, query = target.partition("?")
    is_seen = unquote_to_bytes(raw).decode("latin-1") == path and query == environ.get("QUERY_STRING", "")
    return target if is_seen else None


def _quoted(path: str) -> str:
    return quote(path.encode("latin-1"), safe=LEFT_AS_IT_IS.replace("%", ""))


def _unauthorized() -> Response:
    answer = problem(HTTPStatus.UNAUTHORIZED, "this call needs a good signature (RFC 9421) of a known caller")
    answer.headers["WWW-Authenticate"] = "Signature"
    return answer
