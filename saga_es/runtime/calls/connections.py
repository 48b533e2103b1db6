"""Connections to one base URL. They stay open, and send each request in one piece.

urllib3 sends the head of a request and then its body, which wakes the server twice. Its `PoolManager` parses each URL
again to find the pool of its host; here there is only one host.
"""

from __future__ import annotations

from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _InOnePiece(HTTPConnection):
    """A connection that collects the pieces of a request, and sends them together."""

    _held: list[bytes] | None = None

    def request(self, *given: Any, **more: Any) -> None:
        """Send a request. A closed connection is opened before the first byte is sent."""
        held: list[bytes] = []
        self._held = held
        try:
            super().request(*given, **more)
        finally:
            self._held = None
        self.send(b"".join(held))

    def send(self, data: Any) -> None:
        """Send the data, or collect it while a request is being built."""
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _InOnePieceOverTls(_InOnePiece, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _InOnePiece


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _InOnePieceOverTls


def pool_of(base_url: str, connections: int) -> HTTPConnectionPool:
    """A pool of connections to the host of a base URL. It keeps `connections` open; others are closed after use."""
    url = urllib3.util.parse_url(base_url)
    kind = _TlsPool if url.scheme == "https" else _Pool
    assert url.host, "the settings accept only URLs with a host"
    return kind(url.host.strip("[]"), url.port, maxsize=connections)
