"""Requests that never become whole: they are cut after a time, and meanwhile keep nobody from the server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
import requests
from waitress import wasyncore
from waitress.server import BaseWSGIServer

from saga_es.api import listening
from saga_es.api.listening import BESIDE_BODY, listen
from tests.support.participants import TIMEOUT_S

LIMIT = 1000
THREADS = 2

UNFINISHED = {
    "nothing but a method": b"GE",
    "half a line": b"GET / HT",
    "a line without headers": b"GET / HTTP/1.1\r\n",
    "half a header": b"GET / HTTP/1.1\r\nHost: local",
    "headers that do not end": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n",
    "no body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
    "half a body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
    "no chunk": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n123",
    "chunks that do not end": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n",
    "a whole one, then half of one": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT",
}


def hello(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with what came."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body) + 2))])
    return [b"hi", body]


def running(server: BaseWSGIServer, stack: ExitStack) -> int:
    """Run a server on a thread; its port."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    stack.callback(stop, server, thread)
    return int(server.effective_port)


def stop(server: BaseWSGIServer, thread: threading.Thread) -> None:
    """Close everything on the thread that runs it, which then ends."""
    connections = getattr(server, "map", None) or server._map
    trigger = next(one.trigger for one in connections.values() if isinstance(one, BaseWSGIServer))
    trigger.pull_trigger(lambda: wasyncore.close_all(connections))
    thread.join(TIMEOUT_S)
    server.task_dispatcher.shutdown()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server whose requests must arrive within half a second."""
    with ExitStack() as stack:
        server = listen(hello, "127.0.0.1", 0, threads=THREADS, payload_limit=LIMIT, request_timeout_s=0.5)
        yield running(server, stack)


def sent(port: int, data: bytes) -> socket.socket:
    """A connection on which this was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    connection.sendall(data)
    return connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    found = b""
    with connection:
        try:
            while data := connection.recv(65_536):
                found += data
        except ConnectionResetError:
            pass
    return found


def answer(port: int) -> bytes:
    return requests.get(f"http://127.0.0.1:{port}/", timeout=TIMEOUT_S).content


def test_unfinished_requests_are_cut_and_keep_nobody_waiting(port: int) -> None:
    """Ten of each kind are many more than there are threads; others are answered meanwhile."""
    waiting = [(kind, sent(port, data)) for kind, data in UNFINISHED.items() for _ in range(10)]
    assert answer(port) == b"hi"
    for kind, connection in waiting:
        found = rest(connection)
        assert found.count(b"HTTP/1.1 200") == ("a whole one" in kind), kind
    assert answer(port) == b"hi"


def test_a_client_that_drips_is_cut_as_well(port: int) -> None:
    """The time counts from the first byte: to send another one now and then buys nothing."""
    connection = sent(port, b"GET / HTTP/1.1\r\nX-Slow: ")
    connection.settimeout(0.05)
    deadline = monotonic() + TIMEOUT_S
    with connection:
        while True:
            assert monotonic() < deadline, "it was never cut"
            try:
                connection.sendall(b"a")
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break


def test_a_request_that_takes_long_to_be_answered_is_not_cut(port: int) -> None:
    """Also when the next one of its connection is there in part: that one waits for us."""
    began, may_end = threading.Event(), threading.Event()

    def slow(environ: Any, start_response: Any) -> list[bytes]:
        began.set()
        assert may_end.wait(TIMEOUT_S)
        return hello(environ, start_response)

    with ExitStack() as stack:
        server = listen(slow, "127.0.0.1", 0, threads=1, payload_limit=LIMIT, request_timeout_s=0.5)
        slow_port = running(server, stack)
        connection = sent(slow_port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n")
        assert began.wait(TIMEOUT_S)
        assert b"hi" in rest_of_another(port)  # some loops of a server later
        may_end.set()
        connection.sendall(b"Connection: close\r\n\r\n")
        assert rest(connection).count(b"hi") == 2


def rest_of_another(port: int) -> bytes:
    """The answer to a request whose successor is cut: more time has gone by than a request may take."""
    return rest(sent(port, UNFINISHED["a whole one, then half of one"]))


def test_new_connections_are_let_in_when_there_are_too_many(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have waited longest are closed; who holds a thousand open keeps nobody out."""
    monkeypatch.setattr(listening, "MOST_CONNECTIONS", 20)
    monkeypatch.setattr(listening, "SPARE", 5)
    with ExitStack() as stack:
        server = listen(hello, "127.0.0.1", 0, threads=1, payload_limit=LIMIT, request_timeout_s=3600)
        crowded = running(server, stack)
        for _ in range(40):
            stack.enter_context(sent(crowded, b"GET / HT"))
        assert answer(crowded) == b"hi"
    assert answer(port) == b"hi"


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n", 413, f"larger than {LIMIT} bytes"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413, "SAGA_ES_PAYLOAD_LIMIT"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", 431, "exceeds"),
        (b"nonsense\r\n\r\n", 400, ""),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "header"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "Content-Length"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "Transfer-Encoding"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, ""),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, ""),
    ],
)
def test_what_is_no_request_is_answered_with_a_problem(port: int, request_: bytes, status: int, said: str) -> None:
    """With the headers of every answer, and nothing of the server's software."""
    head, _, body = rest(sent(port, request_)).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].split(" ")[1] == str(status)
    problem = json.loads(body)
    assert problem["status"] == status
    assert said in problem["detail"]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "waitress" not in head.decode().lower() + body.decode().lower()


def test_a_body_that_never_ends_is_refused_near_the_limit(port: int) -> None:
    """In chunks nobody says how much will come."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    connection = sent(port, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent_bytes = 0
    try:
        while sent_bytes < 100 * (LIMIT + BESIDE_BODY):
            connection.sendall(chunk)
            sent_bytes += len(chunk)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert sent_bytes < 100 * (LIMIT + BESIDE_BODY)
    connection.close()


def test_every_address_of_a_name_is_served() -> None:
    """`localhost` has two on many machines."""
    with ExitStack() as stack:
        server = listen(hello, "localhost", 0, threads=1, payload_limit=LIMIT, request_timeout_s=1)
        port = running(server, stack)
        for host, found in getattr(server, "effective_listen", [("127.0.0.1", port)]):
            address = f"[{host}]" if ":" in host else host
            assert requests.get(f"http://{address}:{found}/", timeout=TIMEOUT_S).content == b"hi"
