"""Tunnels through an HTTP proxy (`CONNECT`, RFC 9110, 9.3.6).

A tunnel is asked for with every scheme, also for `http`: a proxy that forwards single requests answers 502 and 504
after it has sent them on, and nobody could tell its answers from the participant's. What a tunnel answers with, it says
before the first byte of the request leaves, so a refusal means that nothing was done.
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlunsplit

import msgspec

from saga_es.definition.credentials import Source
from saga_es.runtime.calls.address import Address, BadAddress, address_of, split_url
from saga_es.runtime.calls.reading import Reading, Unreadable
from saga_es.runtime.calls.sources import NoCredentials, text_of

FORM = "http://[USER:PASSWORD@]HOST:PORT"

CURES = {
    401: "correct the user and the password in its URL",
    403: "have it allow CONNECT there",
    405: "it knows no CONNECT; name a proxy that does",
    407: "correct the user and the password in its URL",
}


class NoTunnel(Exception):
    """A proxy gave no tunnel; nothing was sent to the participant."""


class Proxy(msgspec.Struct, frozen=True):
    """A proxy, and how it is shown who asks.

    Attributes:
        address: Where it is.
        authorization: The value of `Proxy-Authorization`; None: it is shown nothing.
    """

    address: Address
    authorization: str | None

    def __repr__(self) -> str:
        """Without the password: a traceback may show it."""
        return f"Proxy({self.address.host}:{self.address.port})"


def proxy_of(source: Source) -> Proxy:
    """The proxy that a source names now.

    Raises:
        NoCredentials: It names none. The message shows no part of a user or a password.
    """
    url = text_of(source)
    try:
        parts = split_url(url)
        address = address_of(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except (BadAddress, ValueError) as error:
        raise NoCredentials(f"it is no URL of a proxy; write {FORM}") from error
    if address.is_tls:
        raise NoCredentials(f"a proxy is asked in plain HTTP, and TLS goes through it to the participant; write {FORM}")
    if address.prefix:
        raise NoCredentials(f"the URL of a proxy has no path; write {FORM}")
    if not (user + password).isprintable():
        raise NoCredentials("the user or the password of the proxy has a character that cannot be sent; correct it")
    shown = f"{user}:{password}".encode()
    return Proxy(address, f"Basic {b64encode(shown).decode()}" if parts.username is not None else None)


def asking(proxy: Proxy, address: Address) -> bytes:
    """The request for a tunnel to an address."""
    target = authority(address)
    shown = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{shown}\r\n".encode("ascii")


def authority(address: Address) -> str:
    """Host and port, as `CONNECT` names them."""
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


class Tunnel:
    """Reads what a proxy answers. Nothing here waits: it is given what came, and says whether the tunnel stands.

    Args:
        address: Where the tunnel leads.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._reading = Reading("HEAD")  # after the head of a success, what comes is the participant's

    def take(self, data: bytes) -> bool:
        """Take what came; nothing: the connection has ended. Returns whether the tunnel stands.

        Raises:
            NoTunnel: The proxy refused.
        """
        try:
            answer = self._reading.take(data)
        except Unreadable as error:
            raise NoTunnel(f"its proxy gave no readable answer: {error}; it has to speak HTTP") from error
        if answer is None:
            return False
        if not is_success(answer.status):
            cure = CURES.get(answer.status, "the proxy's own log says why")
            raise NoTunnel(f"its proxy gave no tunnel to port {self._address.port}: {answer.status}; {cure}")
        if self._reading.has_more():  # with neither TLS nor HTTP does a server speak first
            raise NoTunnel("its proxy sends more than an answer, so that nobody knows whose bytes are whose")
        return True


def is_success(status: int) -> bool:
    """Whether a status opens a tunnel (RFC 9110, 9.3.6: any of 2xx)."""
    return status // 100 == 2  # noqa: PLR2004
