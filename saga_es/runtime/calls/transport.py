"""Transports: a request reaches a participant over the network, or through an application in this process."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from io import BytesIO
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote_to_bytes

from saga_es.definition.credentials import NONE, TLS, Credentials, Source
from saga_es.logs.secrets import harmless
from saga_es.runtime.calls.address import address_of, is_private
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.connections import Connections, NothingLeft, Written
from saga_es.runtime.calls.credentials import Tls
from saga_es.runtime.calls.opening import on_own_thread
from saga_es.runtime.calls.proxies import proxy_of
from saga_es.runtime.calls.shown import Shown
from saga_es.runtime.calls.sources import NoCredentials
from saga_es.store.host_time import elapsed_s, monotonic_s

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

Send = Callable[[], Coroutine[Any, Any, Answer]]
"""Sends a request that is ready, once, on the event loop that runs."""


class Transport(Protocol):
    """Sends one request once. The core decides about retries."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Send, and wait for the answer.

        Raises:
            NotSent: Nothing was sent.
            AnswerLost: No readable answer came.
        """
        ...


@runtime_checkable
class AwaitedTransport(Transport, Protocol):
    """A transport whose answers can be awaited, so that no thread waits for them."""

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Answer:
        """Send, and await the answer; whoever asked keeps the time.

        Raises:
            NotSent: Nothing was sent.
            AnswerLost: No readable answer came.
        """
        ...


class HttpTransport:
    """Over the network, on kept connections. Redirects are not followed.

    Args:
        base_url: The participant's base URL.
        connections: How many connections are kept open.
        name: The participant, as errors name it: a URL may hold what nobody should read.
        credentials: What it is shown, and whom we trust there.

    Attributes:
        address: Where the participant is.
        may_block: Whether preparing a request may read files, fetch tokens or call functions.

    Raises:
        BadAddress: Calls could not carry all of the URL.
    """

    def __init__(
        self,
        base_url: str,
        connections: int = 32,
        name: str = "the participant",
        credentials: Credentials = NONE,
    ) -> None:
        self.address = address_of(base_url)
        self._name = name
        self._shown = Shown(credentials, self.address, partial(_token_endpoint, proxy=credentials.proxy))
        has_own_tls = any(which in TLS for which, _ in credentials.given())
        context = Tls(credentials).context if has_own_tls else None
        proxy = None if credentials.proxy is None else partial(proxy_of, credentials.proxy)
        self._connections = Connections(self.address, connections, context, proxy)
        self.may_block = credentials != NONE

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Send, and wait for the answer; one deadline covers all from the name of the host to the end of the body."""
        since_s, deadline = elapsed_s(), monotonic_s() + timeout_s
        request, shown = self._written(method, path, headers, body, deadline, timeout_s)
        answer = self._exchanged(request, deadline, timeout_s)
        if self._shown.is_to_be_renewed(answer, shown, since_s):
            request, shown = self._written(method, path, headers, body, deadline, timeout_s)
            answer = self._exchanged(request, deadline, timeout_s)
        return self._shown.unrepeated(answer, shown)

    def begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Send:
        """Prepare the same, which may block, on this thread. What is returned sends, and waits on an event loop.

        Raises:
            NotSent: Nothing was sent.
        """
        since_s, deadline = elapsed_s(), monotonic_s() + timeout_s
        prepare = partial(self._written, method, path, headers, body, deadline, timeout_s)
        request, shown = prepare()

        async def send() -> Answer:
            answer, then = await self._exchanged_on_loop(request, deadline, timeout_s), shown
            if self._shown.is_to_be_renewed(answer, then, since_s):
                again, then = await on_own_thread(prepare, "saga-es-credentials")
                answer = await self._exchanged_on_loop(again, deadline, timeout_s)
            return self._shown.unrepeated(answer, then)

        return send

    def _written(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: float,
        timeout_s: float,
    ) -> tuple[Written, Mapping[str, str]]:
        """The request with the credentials of now, and its headers."""
        try:
            shown = self._shown.headers(method, path, headers, body, deadline - monotonic_s())
        except NoCredentials as error:
            raise NotSent(f"{self._name} cannot be shown who calls: {error}") from error
        with self._meaning(timeout_s):
            return self._connections.written(method, self.address.prefix + path, shown, body), shown

    def _exchanged(self, request: Written, deadline: float, timeout_s: float) -> Answer:
        with self._meaning(timeout_s):
            return self._connections.exchange(request, deadline)

    async def _exchanged_on_loop(self, request: Written, deadline: float, timeout_s: float) -> Answer:
        with self._meaning(timeout_s):
            return await self._connections.exchange_on_loop(request, deadline)

    @contextmanager
    def _meaning(self, timeout_s: float) -> Iterator[None]:
        """What is raised here says whether something may have been done."""
        try:
            yield
        except NothingLeft as error:
            raise NotSent(f"{self._name} cannot be reached: {_why(error.__cause__ or error, timeout_s)}") from error
        except Exception as error:  # of any class: a byte of the request may have arrived
            raise AnswerLost(f"no answer from {self._name}: {_why(error, timeout_s)}") from error

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._connections.close()


def _token_endpoint(url: str, proxy: Source | None) -> HttpTransport:
    """The client for a token endpoint. What leaves this network for a participant does so for its tokens."""
    is_inside = is_private(address_of(url).host)
    return HttpTransport(url, 1, "the token endpoint", NONE if is_inside else Credentials(proxy=proxy))


_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"})


def _why(error: BaseException, timeout_s: float) -> str:
    """What happened, and what to do about it."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not valid here: {error.verify_message}; name the certificate of its authority "
                "in SSL_CERT_FILE, or correct the host in its URL"
            )
        case ssl.SSLError(reason=reason) if reason in _NOT_TLS:
            return "no TLS is spoken there; its URL may have to begin with http://"
        case socket.gaierror():
            return f"its host name is not known: {error.strerror}"
        case TimeoutError():
            return f"it took longer than {timeout_s:g} s"
        case _:
            return str(error) or type(error).__name__


class WsgiTransport:
    """Through a WSGI application in this process: the same routes and bytes, without a socket.

    A server that called itself over HTTP would need a second thread for each request that it serves: eight waiting
    requests would block all of eight threads.

    Args:
        app: The application.
        caller: Who calls, for the application to see.
    """

    def __init__(self, app: WsgiApp, caller: object = True) -> None:  # noqa: FBT002 (an object that stands for itself)
        self._app = app
        self._caller = caller

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Call the application on this thread. `timeout_s` is ignored: the caller has to keep it."""
        del timeout_s
        head = _Head()
        try:
            chunks = self._app(_environ(method, path, headers, body, self._caller), head)
            try:
                rest = b"".join(chunks)  # before the head is read: the application may set it with the first chunk
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            return Answer(head.status, harmless(head.headers), head.written + rest)
        except NotSent:
            raise
        except Exception as error:  # the application may have acted before it raised
            raise AnswerLost(f"the application failed: {type(error).__name__}: {error}") from error


IN_PROCESS = "saga_es.in_process"
"""The entry of the WSGI environment that only a call within this process has: no header of a request can set it.

It is the caller, as an object."""

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


def _environ(method: str, path: str, headers: Mapping[str, str], body: bytes | None, caller: object) -> dict[str, Any]:
    before, _, query = path.partition("?")
    environ = {
        **_ENVIRON,
        IN_PROCESS: caller,
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
