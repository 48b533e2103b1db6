"""Transports: a request reaches a participant over the network, or through an application in this process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import msgspec
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
)

from saga_es.runtime.calls.connections import pool_of

ANSWER_LIMIT = 1_048_576
"""The most bytes of an answer that are read; a longer answer counts as lost."""

READ_SIZE = 65_536

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class NotSent(Exception):
    """The request was not sent: nothing can have been done."""


class AnswerLost(Exception):
    """The request was sent and no readable answer came: what was done is not known."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request once. The core decides about retries."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Send, and wait for the answer.

        Raises:
            NotSent: Nothing was sent.
            AnswerLost: No readable answer came.
        """
        ...


class HttpTransport:
    """Over the network, on pooled connections."""

    def __init__(self, base_url: str, connections: int = 32) -> None:
        self._base_url = base_url.rstrip("/")
        self._prefix = urllib3.util.parse_url(self._base_url).path or ""
        self._pool = pool_of(base_url, connections)

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Send, and wait for the answer; redirects are not followed."""
        try:
            response = self._pool.urlopen(
                method,
                self._prefix + path,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            content = self._read(response, time.monotonic() + timeout_s)
        except (NewConnectionError, ConnectTimeoutError) as error:  # related errors may occur after sending
            raise NotSent(f"{self._base_url} cannot be reached: {error}") from error
        except (HTTPError, OSError) as error:
            raise AnswerLost(f"no answer from {self._base_url}: {error}") from error
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, content)

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """The whole body, by the deadline. The library's time-out is for each read, and a body may drip for ever."""
        content = bytearray()
        while chunk := response.read1(READ_SIZE, decode_content=True):
            content += chunk
            if len(content) > ANSWER_LIMIT:
                response.close()
                raise AnswerLost(f"the answer of {self._base_url} is longer than {ANSWER_LIMIT} bytes")
            if time.monotonic() > deadline:
                response.close()
                raise AnswerLost(f"the answer of {self._base_url} was not complete in time")
        response.release_conn()
        return bytes(content)


class WsgiTransport:
    """Through a WSGI application in this process: the same routes and bytes, without a socket.

    A server that called itself over HTTP would need a second thread for each request that it serves: eight waiting
    requests would block all of eight threads.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Call the application on this thread. `timeout_s` is ignored: the caller has to keep it."""
        del timeout_s
        head = _Head()
        try:
            chunks = self._app(_environ(method, path, headers, body), head)
            try:
                rest = b"".join(chunks)  # before the head is read: the application may set it with the first chunk
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            return Answer(head.status, {name.lower(): value for name, value in head.headers}, head.written + rest)
        except NotSent:
            raise
        except Exception as error:  # the application may have acted before it raised
            raise AnswerLost(f"the application failed: {type(error).__name__}: {error}") from error


_ENVIRON: Mapping[str, Any] = {
    "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "localhost",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}
"""The entries of PEP 3333 that are the same for each request. Building them, and collecting the answer, with
`werkzeug.test` costs 40 µs a call."""


def _environ(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> dict[str, Any]:
    before, _, query = path.partition("?")
    environ = {
        **_ENVIRON,
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(before).decode("latin-1"),  # bytes as text, as PEP 3333 has it
        "QUERY_STRING": query,
        "wsgi.input": BytesIO(body or b""),
        "wsgi.errors": sys.stderr,
    }
    for name, value in headers.items():
        environ[_environ_name(name)] = value
    if body is not None:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


@lru_cache(256)
def _environ_name(header: str) -> str:
    name = header.upper().replace("-", "_")
    return name if name == "CONTENT_TYPE" else f"HTTP_{name}"


class _Head:
    """The head of an application's answer; it is the callable that PEP 3333 calls `start_response`."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.written = b""

    def __call__(self, line: str, headers: Sequence[tuple[str, str]], error: Any = None) -> Callable[[bytes], None]:
        del error  # a corrected head replaces the one before: nothing was sent yet
        self.status, self.headers = int(line[:3]), headers
        return self._write

    def _write(self, chunk: bytes) -> None:
        self.written += chunk
