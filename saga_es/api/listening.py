"""The server that listens: what comes in is bounded in bytes and in time, and who sends slowly keeps nobody out.

Waitress reads requests on one thread and hands whole ones to its threads, so an unfinished request holds no thread. But
it would hold a connection for as long as a byte comes every two minutes, and there are so many connections.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, MultiSocketServer, TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from saga_es.api.guards import HEADERS_OF_DATA

MOST_CONNECTIONS = 1000
SPARE = 50
"""So many connections before the last, those that have waited longest are closed: a new one is always let in."""

BESIDE_BODY = 1_048_576
"""Bytes of a body beyond the payload that are still read, so that the client reads the answer: what is refused unread
may find its connection reset."""

UNREAD = 128 * 1_048_576
"""Bytes of an answer that may wait for a client to read them before a thread does: more than most answers have."""


class _Refusal(ErrorTask):  # type: ignore[misc]  # the library is untyped
    """The answer to what is no request, or too large a one: a problem, with the headers of every answer."""

    def execute(self) -> None:
        """Write it."""
        error = self.request.error
        problem = {"type": "about:blank", "title": error.reason, "status": error.code, "detail": _detail(error, self)}
        body = msgspec.json.encode(problem)
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [("Content-Type", "application/problem+json"), *HEADERS_OF_DATA]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


def _detail(error: Any, task: ErrorTask) -> str:
    if error.code == 413:  # noqa: PLR2004 (the status that it is)
        limit = task.channel.adj.max_request_body_size - BESIDE_BODY
        return f"the request is larger than {limit} bytes; see the setting SAGA_ES_PAYLOAD_LIMIT"
    return str(error.body)


class _Channel(HTTPChannel):  # type: ignore[misc]  # the library is untyped
    """A connection whose requests must arrive within a time."""

    error_task_class = _Refusal

    def __init__(self, *args: Any, **options: Any) -> None:
        self.waits_since = time.monotonic()
        self._was_served = False
        super().__init__(*args, **options)

    def received(self, data: bytes) -> bool:
        """Take what came in."""
        was_between = self.request is None
        taken: bool = super().received(data)
        if was_between or self.request is None:  # a request began with this, or ended
            self.waits_since = time.monotonic()
        self._was_served = self._was_served or self.is_served
        return taken

    def readable(self) -> bool:
        """Whether to read on; asked about once a second for each connection."""
        now = time.monotonic()
        if self._was_served and not self.is_served:  # until now the next request has waited for us
            self._was_served, self.waits_since = False, now
        is_unfinished = self.request is not None and not self.is_served
        if is_unfinished and now - self.waits_since > self.server.request_timeout_s:
            self.will_close = True
        is_readable: bool = super().readable()
        return is_readable

    @property
    def is_served(self) -> bool:
        """Whether a request of this connection is being answered."""
        return bool(self.requests)


class _Server(TcpWSGIServer):  # type: ignore[misc]  # the library is untyped
    """A server that makes room for new connections."""

    channel_class = _Channel
    request_timeout_s = 0.0

    def readable(self) -> bool:
        """Whether to accept another connection."""
        if len(self._map) > self.adj.connection_limit - SPARE:
            idle = [channel for channel in list(self.active_channels.values()) if not channel.is_served]
            for channel in sorted(idle, key=lambda channel: channel.waits_since)[:SPARE]:
                channel.will_close = True
        is_readable: bool = super().readable()
        return is_readable


class _Servers(MultiSocketServer):  # type: ignore[misc]  # the library is untyped
    """The servers of all addresses of one name."""

    @property
    def effective_port(self) -> int:
        """The port of the first."""
        port: int = self.effective_listen[0][1]
        return port


def listen(
    app: Any, host: str, port: int, *, threads: int, payload_limit: int, request_timeout_s: float
) -> BaseWSGIServer:
    """Listen at an address; call `run` to answer.

    Args:
        app: The WSGI application.
        host: The address.
        port: The port; 0: any that is free.
        threads: Requests that are answered at once.
        payload_limit: The most bytes of JSON in a request; what has much more is refused before it is read.
        request_timeout_s: Seconds from the first byte of a request to its last; then its connection is closed.

    Raises:
        OSError: The address is taken, or is not an address of this machine.
        ValueError: It is no address.
    """
    settings = Adjustments(
        host=host,
        port=port,
        threads=threads,
        max_request_body_size=payload_limit + BESIDE_BODY,
        connection_limit=MOST_CONNECTIONS,
        outbuf_high_watermark=UNREAD,
        channel_request_lookahead=1,  # so that an answer that goes on and on sees that its reader has left
        ident=None,
    )
    connections: dict[int, Any] = {}
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(threads)
    servers = []
    for address in settings.listen:  # a name may have several
        server = _Server(app, connections, dispatcher=dispatcher, adj=settings, sockinfo=address)
        server.request_timeout_s = request_timeout_s
        servers.append(server)
    if len(servers) == 1:
        return servers[0]
    addresses = [(server.effective_host, server.effective_port) for server in servers]
    return _Servers(connections, settings, addresses, dispatcher, servers[0].log_info)
