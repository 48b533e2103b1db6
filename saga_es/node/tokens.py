"""The issuer of tokens that the settings name."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from saga_es.access.authenticate import is_loopback
from saga_es.errors import NotInstalled, SettingsError
from saga_es.node.settings import Settings
from saga_es.runtime.calls.transport import HttpTransport

if TYPE_CHECKING:
    from saga_es.access.jwt_auth import JwtAuth

FETCH_TIMEOUT_S = 5.0


def jwt_of(settings: Settings) -> JwtAuth:
    """The authentication by tokens.

    Raises:
        NotInstalled: The extra `jwt` is not.
        SettingsError: A setting is missing, or the keys would be fetched without TLS.
    """
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        raise NotInstalled(["pyjwt", "cryptography"], "jwt", "for SAGA_ES_AUTH=jwt")
    from saga_es.access.jwt_auth import Issuer, JwtAuth  # noqa: PLC0415 (an extra)

    needed = ("jwt_issuer", "jwt_audience", "jwt_jwks")
    missing = [f"SAGA_ES_{name.upper()}: SAGA_ES_AUTH=jwt needs it" for name in needed if not getattr(settings, name)]
    if missing:
        raise SettingsError(missing)
    try:
        issuer = Issuer(
            name=settings.jwt_issuer,
            audience=settings.jwt_audience,
            fetch=_fetch(settings.jwt_jwks),
            algorithms=settings.jwt_algorithms.split(),
            roles=settings.jwt_roles_claim,
        )
    except ValueError as error:
        raise SettingsError([f"SAGA_ES_JWT_ALGORITHMS: {error}"]) from error
    return JwtAuth([issuer])


def _fetch(where: str) -> partial[bytes]:
    parts = urlsplit(where)
    if parts.scheme == "file":
        return partial(Path(parts.path).read_bytes)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise SettingsError([f"SAGA_ES_JWT_JWKS: {where!r} is neither https:// nor a file:// URL"])
    base = f"{parts.scheme}://{parts.netloc}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return partial(_over_http, HttpTransport(base, 1, "the issuer"), path)


def _over_http(transport: HttpTransport, path: str) -> bytes:
    answer = transport.send("GET", path, {"Accept": "application/json"}, None, FETCH_TIMEOUT_S)
    if answer.status != HTTPStatus.OK:  # redirects are not followed: they could lead anywhere
        raise ValueError(f"the issuer answered {answer.status}")
    return answer.body
