"""How a request reaches a participant: over the network, or through the application in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
)
from werkzeug.test import EnvironBuilder, run_wsgi_app

ANSWER_LIMIT = 1_048_576
"""Bytes of an answer we read; a longer one is unreadable."""

READ_SIZE = 65_536

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class NotSentError(Exception):
    """The request never left: nothing can have been done."""


class AnswerLostError(Exception):
    """The request left, the answer did not come: nobody knows what was done."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request once; trying again is decided elsewhere."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Send, and wait for the answer.

        Raises:
            NotSentError: Nothing was sent.
            AnswerLostError: No readable answer came.
        """
        ...


class HttpTransport:
    """Over the network, on pooled connections."""

    def __init__(self, base_url: str, connections: int = 32) -> None:
        self._base_url = base_url.rstrip("/")
        self._pool = urllib3.PoolManager(num_pools=4, maxsize=connections, retries=False)

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Send, and wait for the answer; redirects are not followed."""
        try:
            response = self._pool.request(
                method,
                self._base_url + path,
                body=body,
                headers=dict(headers),
                timeout=urllib3.Timeout(total=timeout_s),
                redirect=False,
                preload_content=False,
            )
            content = self._read(response, time.monotonic() + timeout_s)
        except (NewConnectionError, ConnectTimeoutError) as error:  # their relatives come after sending
            raise NotSentError(f"{self._base_url} cannot be reached: {error}") from error
        except (HTTPError, OSError) as error:
            raise AnswerLostError(f"no answer from {self._base_url}: {error}") from error
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, content)

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """The whole body, by the deadline: the library's time-out is for each read, and one may drip for ever."""
        content = bytearray()
        while chunk := response.read1(READ_SIZE, decode_content=True):
            content += chunk
            if len(content) > ANSWER_LIMIT:
                response.close()
                raise AnswerLostError(f"the answer of {self._base_url} is longer than {ANSWER_LIMIT} bytes")
            if time.monotonic() > deadline:
                response.close()
                raise AnswerLostError(f"the answer of {self._base_url} was not complete in time")
        response.release_conn()
        return bytes(content)


class WsgiTransport:
    """Through a WSGI application in this process: the same routes and bytes, and no socket.

    A server that called itself over HTTP would need a second thread for every request it serves: eight
    waiting requests would starve eight threads.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Call the application in this thread; `timeout_s` is the caller's to keep."""
        del timeout_s
        builder = EnvironBuilder(path=path, method=method, headers=list(headers.items()), data=body)
        try:
            chunks, status, answered, *_ = run_wsgi_app(self._app, builder.get_environ(), buffered=True)
        except NotSentError:
            raise
        except Exception as error:  # whatever the application let through: it may have acted before
            raise AnswerLostError(f"the application failed: {type(error).__name__}: {error}") from error
        finally:
            builder.close()
        return Answer(int(status[:3]), {k.lower(): v for k, v in answered.items()}, b"".join(chunks))
