"""Tokens by OAuth 2.0 client credentials (RFC 6749, 4.4): fetched when one is needed, and kept while it is good."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from saga_es.runtime.calls.address import BadAddress, address_of, is_private
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.sources import NoCredentials, text_of
from saga_es.store.host_time import elapsed_s

FORM = "oauth2 TOKEN-URL CLIENT-ID SECRET [SCOPE …]"
TIMEOUT_S = 10.0
KEPT_S = 60.0
"""Seconds for which a token is kept whose answer does not say for how long it is good."""

EARLY = 0.2
MOST_EARLY_S = 60.0
"""A token is fetched anew before it expires, by a fifth of its time, and by a minute at most: it has to arrive."""

_CODE = re.compile(r"[a-z_]{1,40}")
"""What an error of RFC 6749, 5.2, looks like. Nothing else of an answer is shown: it may repeat the secret."""


class Client(Protocol):
    """Sends one request to a token endpoint."""

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes, timeout_s: float) -> Answer:
        """Send, and wait for the answer."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class Grant(msgspec.Struct, frozen=True):
    """What is asked for, and where.

    Attributes:
        more: Parameters beyond the scope, such as `audience`.
    """

    url: str
    client_id: str
    secret: str
    scope: str
    more: dict[str, str]

    def __repr__(self) -> str:
        """Without the secret: a traceback may show it."""
        return f"Grant({self.client_id!r}, ***)"

    @property
    def digest(self) -> bytes:
        """What tells grants apart."""
        return sha256(msgspec.json.encode(self)).digest()


class Token(msgspec.Struct, frozen=True):
    """A token, and how long it is used."""

    text: str
    fetched_s: float
    until_s: float

    def __repr__(self) -> str:
        """Without the token: a traceback may show it."""
        return "Token(***)"


class Tokens:
    """The tokens for one participant. Any thread may ask; one fetches at a time, and the others wait for it.

    Args:
        reach: Makes the client for the base URL of a token endpoint.
    """

    def __init__(self, reach: Callable[[str], Client]) -> None:
        self._reach = reach
        self._kept: dict[bytes, Token] = {}
        self._fetching = threading.Lock()

    def token(self, grant: Grant, timeout_s: float) -> Token:
        """A token that is good now.

        Raises:
            NoCredentials: None can be had.
        """
        kept = self._good(grant)
        if kept is not None:
            return kept
        if not self._fetching.acquire(timeout=min(timeout_s, TIMEOUT_S)):
            raise NoCredentials(f"another thread waits for {_where(grant)}")
        try:
            kept = self._good(grant)
            if kept is None:
                kept = _fetched(self._reach, grant, min(timeout_s, TIMEOUT_S))
                self._kept = {grant.digest: kept}  # of former secrets nothing is kept
            return kept
        finally:
            self._fetching.release()

    def drop(self, token: str, since_s: float) -> bool:
        """A participant refused this token: another is fetched, unless it was fetched for this very attempt.

        Args:
            token: The token.
            since_s: When the attempt began.

        Returns:
            Whether another is to be tried.
        """
        kept = next((kept for kept in self._kept.values() if kept.text == token), None)
        if kept is None:
            return bool(self._kept)  # it was replaced meanwhile
        if kept.fetched_s >= since_s:
            return False
        self._kept = {digest: msgspec.structs.replace(each, until_s=0.0) for digest, each in self._kept.items()}
        return True

    def _good(self, grant: Grant) -> Token | None:
        kept = self._kept.get(grant.digest)
        return kept if kept is not None and elapsed_s() < kept.until_s else None


def grant_of(words: str) -> Grant:
    """What the words behind `oauth2` ask for.

    Raises:
        NoCredentials: They are in another form, or the secret cannot be read.
    """
    parts = words.split()
    if len(parts) < 3:  # noqa: PLR2004 (the parts of the form)
        raise NoCredentials(f"oauth2 wants a URL, a client and its secret; write `{FORM}`")
    url, client_id, secret, *rest = parts
    try:
        address = address_of(url.partition("?")[0])
    except BadAddress as error:
        raise NoCredentials(f"the token endpoint cannot be called: {error}") from error
    if not (address.is_tls or is_private(address.host)):
        raise NoCredentials("the token endpoint is beyond loopback and private networks; its URL begins with https://")
    more = dict(word.split("=", 1) for word in rest if "=" in word)
    return Grant(url, client_id, text_of(secret), " ".join(word for word in rest if "=" not in word), more)


def _fetched(reach: Callable[[str], Client], grant: Grant, timeout_s: float) -> Token:
    parts = urlsplit(grant.url)
    asked = {"grant_type": "client_credentials"} | ({"scope": grant.scope} if grant.scope else {}) | grant.more
    login = f"{quote_plus(grant.client_id)}:{quote_plus(grant.secret)}"  # RFC 6749, 2.3.1
    headers = {
        "Authorization": f"Basic {b64encode(login.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    now_s = elapsed_s()
    client = reach(f"{parts.scheme}://{parts.netloc}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        answer = client.send("POST", path, headers, urlencode(asked).encode(), timeout_s)
    except (NotSent, AnswerLost) as error:
        raise NoCredentials(str(error)) from error
    finally:
        client.close()
    return _read(grant, answer, now_s)


def _read(grant: Grant, answer: Answer, now_s: float) -> Token:
    try:
        said: Any = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        said = None
    said = said if isinstance(said, dict) else {}
    if answer.status != 200:  # noqa: PLR2004 (RFC 6749, 5.1)
        code = said.get("error")
        shown = f" {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
        raise NoCredentials(f"{_where(grant)} answered {answer.status}{shown}; check the client and its secret")
    text, kind, good_s = said.get("access_token"), said.get("token_type"), said.get("expires_in", KEPT_S)
    is_token = isinstance(text, str) and text.isascii() and text.isprintable() and text and " " not in text
    if not is_token or not isinstance(kind, str) or kind.lower() != "bearer":
        raise NoCredentials(f"{_where(grant)} gave no bearer token (RFC 6749, 5.1)")
    if isinstance(good_s, bool) or not isinstance(good_s, int | float) or good_s <= 0:
        good_s = KEPT_S
    return Token(text, now_s, now_s + good_s - min(good_s * EARLY, MOST_EARLY_S))


def _where(grant: Grant) -> str:
    return f"the token endpoint {urlsplit(grant.url).hostname}"
