"""Writing a request: head and body as one piece of bytes. A server that got the head alone would be woken twice.

`http.client` writes the same, in four times as many steps, and this is on the path of every call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from saga_es.runtime.calls.address import DEFAULT_PORTS, Address

_UNSENDABLE = re.compile(r"[^\x21-\x7e]")
"""What neither a method nor a target holds: it would end there (RFC 9112, 3)."""

_SAY_THEIR_LENGTH = frozenset({"PATCH", "POST", "PUT"})
"""Methods whose requests say that they have no content (RFC 9110, 8.6)."""


def host_of(address: Address) -> str:
    """The value of the header `Host`; the zone of an address of IPv6 is of this machine alone."""
    host = address.host
    if ":" in host:
        host = f"[{host.partition('%')[0]}]"
    is_usual = address.port == DEFAULT_PORTS["https" if address.is_tls else "http"]
    return host if is_usual else f"{host}:{address.port}"


def written(host: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """A request as bytes.

    Args:
        host: The value of the header `Host`.
        method: The method.
        target: The path and the query.
        headers: Further headers, none of them about the host, the encoding or the length.
        body: The content.

    Raises:
        ValueError: It would be read as another request than this one. The message shows no value of a header.
    """
    if _UNSENDABLE.search(target) or _UNSENDABLE.search(method):
        raise ValueError(f"the path {target!a} or the method {method!a} has a character that cannot be sent")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    elif method in _SAY_THEIR_LENGTH:
        lines.append("Content-Length: 0")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
        raise ValueError(f"a header has a line break or NUL in it: one of {', '.join(map(ascii, headers))}")
    return head.encode("latin-1") + b"\r\n\r\n" + (body or b"")
