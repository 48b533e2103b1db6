"""A participant of its own: a local HTTP server that answers as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TIMEOUT_S = 20.0
"""The longest a test waits for something that should happen at once."""


@dataclass(frozen=True)
class Call:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return self.headers["idempotency-key"]


@dataclass(frozen=True)
class Says:
    """An answer over HTTP; `length` is what Content-Length claims when it is to be a lie."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Resets:
    """The request is read, then the connection is reset."""


@dataclass(frozen=True)
class Hangs:
    """No answer comes until the participant is closed, or `then` is set."""

    then: threading.Event = field(default_factory=threading.Event)


Act = Says | Resets | Hangs
Script = Callable[[Call], Act]


class Participant:
    """Serves on a free port of the loopback until it is closed."""

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.script: Script = script or (lambda _: Says())
        self.calls: list[Call] = []
        self._arrived = threading.Condition()
        self._hanging: list[Hangs] = []
        self._server = _Server(("127.0.0.1", port), _Answering)
        self._server.participant = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all who wait, and stop."""
        for hanging in self._hanging:
            hanging.then.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forget(self) -> None:
        """Be as new."""
        self.calls.clear()
        self.script = lambda _: Says()

    def wait_for_calls(self, count: int) -> None:
        """Block until so many requests have arrived in all."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.calls) >= count, TIMEOUT_S), f"{len(self.calls)} calls came"

    def decide(self, call: Call) -> Act:
        """What to answer to this call, which is remembered."""
        with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        act = self.script(call)
        if isinstance(act, Hangs):
            self._hanging.append(act)
        return act


def in_turn(*acts: Act) -> Script:
    """Each act once, then the last one for ever."""
    left = list(acts)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def by_method(**scripts: Script) -> Script:
    """A script for each HTTP method."""
    return lambda call: scripts[call.method](call)


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


class _Server(ThreadingHTTPServer):
    participant: Participant
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is nothing to report."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one segment: with Nagle and delayed acknowledgements each answer would take 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        act = self.server.participant.decide(Call(self.command, self.path, headers, body))
        match act:
            case Says():
                self._say(act)
            case Resets():
                self._reset()
            case Hangs(then):
                then.wait()
                self._say(Says())

    def _say(self, said: Says) -> None:
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        # RFC 9110, 8.6: a 204 has neither content nor a length.
        content = b"" if said.status == 204 else said.content
        if said.status != 204:
            self.send_header("Content-Length", str(said.length or len(content)))
        if said.length is not None:
            self.close_connection = True
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        # To linger for zero seconds makes the close a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 (the names that the library looks for)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the parameter's name where it comes from)
        """Nothing: what matters is in `calls`."""
