"""Connections to one base URL, kept open, that send each request in one piece.

urllib3 sends the head of a request and then its body, and so a server is woken twice. Its `PoolManager` takes each URL
apart anew, to find the pool of its host; here there is one host.
"""

from __future__ import annotations

from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _InOnePiece(HTTPConnection):
    """A connection that holds back what a request consists of until it is whole."""

    _held: list[bytes] | None = None

    def request(self, *given: Any, **more: Any) -> None:
        """Send a request; a connection that is not open is opened before the first byte leaves."""
        held: list[bytes] = []
        self._held = held
        try:
            super().request(*given, **more)
        finally:
            self._held = None
        self.send(b"".join(held))

    def send(self, data: Any) -> None:
        """Send, or hold back."""
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
    """Connections to the host of a base URL; more than `connections` at once are closed after use."""
    url = urllib3.util.parse_url(base_url)
    kind = _TlsPool if url.scheme == "https" else _Pool
    assert url.host, "a setting is a URL with a host"
    return kind(url.host.strip("[]"), url.port, maxsize=connections)
