"""The base URL of a participant: read once, and refused when a call could not carry all of it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import inet_aton
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

DEFAULT_PORTS = {"http": 80, "https": 443}

LEFT_AS_IT_IS = "/%:@!$&'()*+,;=~"
"""The characters of a path that are not quoted: those of RFC 3986, 3.3, and what was quoted by whoever wrote it."""

_OWN_NETWORKS = tuple(
    map(
        ip_network,
        (
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)
"""Loopback, private (RFC 1918, RFC 4193) and of one link (RFC 3927, RFC 4291)."""

_OWN_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".svc")
"""How names end that no public server of names has (RFC 6761, 6762, 8375; ICANN's `internal`; Kubernetes)."""

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


def is_private(host: str) -> bool:
    """Whether a host is this machine, or in a network of one's own, by its name alone: nobody is asked for it.

    A name without a dot is one that a network of one's own gives, such as a service of Compose or Kubernetes.
    """
    name = host.removesuffix(".").lower()
    try:
        ip: IPv4Address | IPv6Address = ip_address(name.partition("%")[0])
    except ValueError:
        try:
            ip = IPv4Address(inet_aton(name))  # 127.1, 0x7f000001, 2130706433: the system reads them as addresses
        except OSError:
            return "." not in name or name.endswith(_OWN_NAMES)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in _OWN_NETWORKS)


def address_of(url: str) -> Address:
    """The address that a base URL names.

    Raises:
        BadAddress: It is no base URL, or has a part that calls would not carry.
    """
    parts = split_url(url)
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


def url_of(address: Address) -> str:
    """The base URL of an address; it does not end with a slash."""
    scheme = "https" if address.is_tls else "http"
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = "" if address.port == DEFAULT_PORTS[scheme] else f":{address.port}"
    return f"{scheme}://{host}{port}{address.prefix}"


def split_url(url: str) -> SplitResult:
    """The parts of a URL of HTTP.

    Raises:
        BadAddress: It is none.
    """
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
