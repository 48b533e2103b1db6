"""The base URL of a participant: read once, and refused when a call could not carry all of it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

DEFAULT_PORTS = {"http": 80, "https": 443}

LEFT_AS_IT_IS = "/%:@!$&'()*+,;=~"
"""The characters of a path that are not quoted: those of RFC 3986, 3.3, and what was quoted by whoever wrote it."""

_LONGEST_HOST = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


class BadAddress(ValueError):
    """A participant cannot be called under this URL. The message shows no part of it that may be secret."""


class Address(msgspec.Struct, frozen=True):
    """Where a participant is.

    Attributes:
        host: A name in ASCII (names of other scripts in their IDNA form), or an IP address without brackets.
        prefix: The path before the path of each request; it does not end with a slash.
    """

    is_tls: bool
    host: str
    port: int
    prefix: str


def address_of(url: str) -> Address:
    """The address that a base URL names.

    Raises:
        BadAddress: It is no base URL, or has a part that calls would not carry.
    """
    parts = _split(url)
    if parts.username is not None or parts.password is not None:
        raise BadAddress(
            "the URL has a user or a password, which no call would send, and which logs would show; leave them out"
        )
    if parts.query or parts.fragment or url.rstrip()[-1:] in {"?", "#"}:
        what = "a query" if parts.query or url.rstrip().endswith("?") else "a fragment"
        raise BadAddress(f"the URL has {what}, which no call would send; write a query into the paths of the requests")
    return Address(
        parts.scheme == "https",
        _host(parts.hostname or ""),
        _port(parts) or DEFAULT_PORTS[parts.scheme],
        quote(parts.path.rstrip("/"), safe=LEFT_AS_IT_IS),
    )


def _split(url: str) -> SplitResult:
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise BadAddress("the URL holds a blank, a backslash or a control character; write http://host:port/path")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadAddress("the URL cannot be read; an IPv6 address stands in brackets: http://[::1]:5000") from error
    if parts.scheme not in DEFAULT_PORTS or not parts.netloc:
        raise BadAddress("this is no base URL of HTTP; write http://host:port/path or https://host:port/path")
    return parts


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError as error:
        raise BadAddress("the port of the URL is no number from 1 to 65535") from error
    if port == 0:
        raise BadAddress("the port of the URL is no number from 1 to 65535")
    return port


def _host(name: str) -> str:
    """The host as a request and a certificate name it. An underscore is allowed: Docker's names have one."""
    if _is_ip(name):
        return name
    try:
        host = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError as error:
        raise BadAddress(f"the host {name!a} of the URL has no form in ASCII (IDNA)") from error
    labels = host.removesuffix(".").split(".")
    if not 0 < len(host) <= _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadAddress(f"{name!a} in the URL names no host: labels of letters, digits, - and _, separated by dots")
    return host


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
