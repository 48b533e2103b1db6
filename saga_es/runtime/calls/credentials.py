"""Credentials as they are when a request is sent: they are read anew each time, and kept nowhere.

So a token in a file may be replaced while sagas run, and neither the log nor a plan can hold one.
"""

from __future__ import annotations

import ssl
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from saga_es.definition.credentials import TLS, Credentials, Source
from saga_es.runtime.calls.oauth2 import FORM, Grant, grant_of
from saga_es.runtime.calls.proxies import proxy_of
from saga_es.runtime.calls.signing import signing_key
from saga_es.runtime.calls.sources import NoCredentials, text_of

_FORM = (
    f"write `bearer TOKEN`, `basic USER:PASSWORD` or `{FORM}`, where env:NAME or file:/path may stand for the secret"
)
_SHORTEST_MASKED = 12
"""The fewest characters of a credential that is masked where a participant repeats it: `x` is in every text."""


def authorization(auth: Source, token: Callable[[Grant], str]) -> str:
    """The value of the header `Authorization`.

    Args:
        auth: Says it.
        token: Gives the token for a grant.

    Raises:
        NoCredentials: There is none, or it is none.
    """
    scheme, _, rest = (text_of(auth) if callable(auth) else auth.strip()).partition(" ")
    match scheme.lower() if rest.strip() else None:
        case "basic":
            secret = text_of(rest.strip())
            if ":" not in secret or not secret.isprintable():
                raise NoCredentials("basic credentials are USER:PASSWORD, on one line; correct them")
            return f"Basic {b64encode(secret.encode()).decode()}"
        case "bearer":
            secret = text_of(rest.strip())
            if not secret.isascii() or not secret.isprintable() or " " in secret:
                raise NoCredentials("a bearer token is one word of ASCII; correct it")
            return f"Bearer {secret}"
        case "oauth2":
            return f"Bearer {token(grant_of(rest))}"
        case _:
            raise NoCredentials(f"it has no known scheme; {_FORM}")


def check_written(name: str, source: Source) -> None:
    """Check what can be known of a source before anything is sent; a function is not called.

    Raises:
        NoCredentials: It cannot be used.
    """
    if callable(source):
        return
    match name:
        case "auth":
            authorization(source, lambda _: "not fetched before the first call")
        case "sign":
            signing_key(source)
        case "proxy":
            proxy_of(source)
        case _:
            text_of(source)


def unrepeated(body: bytes, authorization: str) -> bytes:
    """An answer's body with `***` where it repeats a credential: an echo would be recorded as a result."""
    secret = authorization.partition(" ")[2].encode()
    return body.replace(secret, b"***") if len(secret) >= _SHORTEST_MASKED else body


class Tls:
    """TLS with a participant's own authorities and our certificate; made anew when one of their texts changes.

    Args:
        credentials: The sources.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._sources = {name: source for name, source in credentials.given() if name in TLS}
        self._made: tuple[bytes, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """The context for a new connection.

        Raises:
            NoCredentials: A text is missing, or is not in PEM.
        """
        texts = {name: text_of(source) for name, source in self._sources.items()}
        digest = sha256(repr(sorted(texts.items())).encode()).digest()
        if self._made is None or self._made[0] != digest:
            self._made = digest, _context(texts)
        return self._made[1]


def trusting(authorities: str | None = None) -> ssl.SSLContext:
    """TLS that trusts these authorities, else whom this machine, `SSL_CERT_FILE` and `SSL_CERT_DIR` trust."""
    context = ssl.create_default_context(cadata=authorities)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context(texts: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = trusting(texts.get("ca"))
    except (ssl.SSLError, ValueError) as error:
        raise NoCredentials("ca is no certificate in PEM; name the file of the authority") from error
    if "key" in texts and "cert" not in texts:
        raise NoCredentials("a key is given, and no cert; give both")
    if "cert" in texts:
        _show(context, "\n".join(filter(None, (texts.get("key"), texts["cert"]))))
    return context


def _show(context: ssl.SSLContext, pem: str) -> None:
    """Load our certificate. OpenSSL reads it from a file alone; this one is ours alone, and gone at once."""
    with tempfile.TemporaryDirectory(prefix="saga-es-") as folder:  # 0700
        file = Path(folder) / "cert.pem"
        file.touch(0o600)
        file.write_text(pem)
        try:
            context.load_cert_chain(file, password=lambda: "")  # without it, OpenSSL would ask the terminal
        except (ssl.SSLError, ValueError) as error:
            why = "cert and key are no certificate with its unencrypted key in PEM, or do not belong together"
            raise NoCredentials(f"{why}; correct their files") from error
