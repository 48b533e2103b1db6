"""How a request reaches a participant: real sockets, and a real application in this process."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import flask
import pytest

from saga_es import Participant, Saga, open_engine
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.reading import ANSWER_LIMIT
from saga_es.runtime.calls.transport import HttpTransport, Transport, WsgiTransport
from tests.support.raw_servers import raw_server, request_of

pytestmark = pytest.mark.usefixtures("each_way")

TIMEOUT_S = 10.0
"""More than any answer of these tests takes; a time-out that is meant is short."""


class Scene(BaseHTTPRequestHandler):
    """One request to a server that misbehaves in the way its path names."""

    protocol_version = "HTTP/1.1"
    closing = threading.Event()
    seen: ClassVar[list[str]] = []

    def _respond(self) -> None:
        self.seen.append(f"{self.command} {self.path}")
        getattr(self, self.path.strip("/").partition("/")[0])()

    do_POST = do_PUT = do_DELETE = do_GET = _respond  # noqa: N815 (names of http.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def echo(self) -> None:
        """What was asked, as JSON."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = {"method": self.command, "path": self.path, "key": self.headers["X-Key"], "body": body.decode()}
        self._answer(201, json.dumps(asked).encode(), X_Answered="Yes")

    def busy(self) -> None:
        """Not now."""
        self._answer(429, b"", Retry_After="7")

    def broken(self) -> None:
        """A server error, which is an answer, too."""
        self._answer(500, b"oops")

    def elsewhere(self) -> None:
        """A redirect."""
        self._answer(307, b"", Location="/echo")

    def dripping(self) -> None:
        """One byte at a time, each well within the time-out, and never enough."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.closing.wait(0.02):
            self.wfile.write(b"x")

    def is_empty(self) -> None:
        """No answer, until the server closes."""
        self.closing.wait(TIMEOUT_S)
        self.close_connection = True

    def hesitant(self) -> None:
        """The head of an answer, and then nothing."""
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b'{"a":')
        self.is_empty()

    def reset(self) -> None:
        """The connection torn down where an answer should be."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def hangup(self) -> None:
        """The connection closed in good order, without a word."""
        self.close_connection = True

    def truncated(self) -> None:
        """Less than was announced."""
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = True

    def halfchunked(self) -> None:
        """One chunk, and not the last."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"2\r\n{}\r\n")
        self.close_connection = True

    def gibberish(self) -> None:
        """Nothing that HTTP knows."""
        self.wfile.write(b"EHLO participant\r\n\r\n")
        self.close_connection = True

    def zipped(self) -> None:
        """An answer that is packed."""
        self._answer(200, gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")

    def notzipped(self) -> None:
        """An answer that says it is packed, and is not."""
        self._answer(200, b"plain", Content_Encoding="gzip")

    def limit(self) -> None:
        """As long as it may be."""
        self._answer(200, b"x" * ANSWER_LIMIT)

    def oversized(self) -> None:
        """One byte longer than it may be."""
        self._answer(200, b"x" * (ANSWER_LIMIT + 1))

    def bomb(self) -> None:
        """Short on the wire, and long when unpacked."""
        self._answer(200, gzip.compress(b"x" * (8 * ANSWER_LIMIT)), Content_Encoding="gzip")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what these tests are about."""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[str]]]:
    """The base URL of a real server, and what it was asked."""
    with _Server(("127.0.0.1", 0), Scene) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}", Scene.seen
        Scene.closing.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def http(server: tuple[str, list[str]]) -> Iterator[HttpTransport]:
    """A transport to that server."""
    server[1].clear()
    transport = HttpTransport(server[0])
    yield transport
    transport.close()


def get(transport: Transport, path: str, timeout_s: float = TIMEOUT_S) -> Answer:
    return transport.send("GET", path, {}, None, timeout_s)


# ── Over the network ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_request_arrives_as_it_was_sent(http: HttpTransport, method: str) -> None:
    """Method, path as quoted, headers and body."""
    answer = http.send(method, "/echo/a%2Fb", {"X-Key": "k"}, b'{"n": 1}', TIMEOUT_S)
    assert answer.status == 201
    assert json.loads(answer.body) == {"method": method, "path": "/echo/a%2Fb", "key": "k", "body": '{"n": 1}'}


def test_header_names_of_an_answer_are_in_lower_case(http: HttpTransport) -> None:
    """So that nobody has to guess how a server writes them."""
    assert http.send("POST", "/echo", {"X-Key": "k"}, None, TIMEOUT_S).headers["x-answered"] == "Yes"
    assert get(http, "/busy").headers["retry-after"] == "7"


def test_an_answer_is_an_answer_whatever_its_status(http: HttpTransport) -> None:
    """What it means is decided elsewhere; nothing is tried again here."""
    assert get(http, "/busy").status == 429
    broken = get(http, "/broken")
    assert (broken.status, broken.body) == (500, b"oops")


def test_a_redirect_is_not_followed(http: HttpTransport, server: tuple[str, list[str]]) -> None:
    """A call that moved might be made twice."""
    assert get(http, "/elsewhere").status == 307
    assert server[1] == ["GET /elsewhere"]


def test_a_base_url_may_have_a_path(server: tuple[str, list[str]]) -> None:
    """With or without a slash at its end."""
    for base in (server[0] + "/echo", server[0] + "/echo/"):
        transport = HttpTransport(base)
        assert json.loads(transport.send("POST", "/x", {"X-Key": ""}, None, TIMEOUT_S).body)["path"] == "/echo/x"
        transport.close()


def test_connections_are_kept_for_the_next_request(http: HttpTransport) -> None:
    """A pooled connection saves the handshake."""
    for _ in range(5):
        get(http, "/broken")
    assert len(http._connections._idle) == 1


def test_an_engine_that_closes_closes_its_connections(tmp_path: Path) -> None:
    """Not when somebody looks for garbage: a participant may have few connections."""
    ended = threading.Event()

    def script(taken: socket.socket) -> None:
        request_of(taken)
        taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        if not taken.recv(1):
            ended.set()

    saga = Saga("pays")
    saga.request("pay", Participant("bank").post("/pay"), compensation=None)
    with raw_server(script) as bank:
        url = f"http://127.0.0.1:{bank.port}"
        with open_engine(f"sqlite:///{tmp_path / 'x.db'}", saga, participants={"bank": url}) as engine:
            engine.start("pays", {}).result(TIMEOUT_S)
            assert not ended.is_set()
        assert ended.wait(TIMEOUT_S)
        assert engine.active == 0  # it is still there: no garbage was collected


def test_a_request_leaves_in_one_piece() -> None:
    """A server that is woken for the head alone has to be woken again for the body."""
    pieces = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            taken, _ = listening.accept()
            with taken:
                pieces.append(taken.recv(65_536))
                taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        transport = HttpTransport(f"http://127.0.0.1:{listening.getsockname()[1]}/base")
        assert transport.send("POST", "/x", {"X-Key": "k"}, b'{"n": 1}', TIMEOUT_S).status == 200
        thread.join()
        transport.close()
    assert pieces[0].startswith(b"POST /base/x HTTP/1.1\r\n")
    assert pieces[0].endswith(b'\r\n\r\n{"n": 1}')


def test_a_refused_connection_means_not_sent() -> None:
    """Nobody listens there: nothing can have been done."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NotSent, match="the participant cannot be reached"):
        get(HttpTransport(f"http://127.0.0.1:{port}"), "/")


@pytest.mark.parametrize("path", ["/silent", "/hesitant", "/dripping"])
def test_a_time_out_after_sending_means_the_answer_is_lost(http: HttpTransport, path: str) -> None:
    """The participant has the request, and may have acted on it: it must never count as not sent."""
    with pytest.raises(AnswerLost):
        get(http, path, timeout_s=0.2)


@pytest.mark.parametrize("path", ["/reset", "/hangup", "/truncated", "/halfchunked", "/gibberish", "/notzipped"])
def test_a_broken_answer_is_lost(http: HttpTransport, server: tuple[str, list[str]], path: str) -> None:
    """Half an answer is none, and the request was sent once."""
    with pytest.raises(AnswerLost, match="no answer from the participant"):
        get(http, path)
    assert server[1] == [f"GET {path}"]


def test_the_transport_goes_on_after_a_broken_answer(http: HttpTransport) -> None:
    """No connection in an unknown state is used again."""
    for path in ("/reset", "/truncated", "/oversized"):
        with pytest.raises(AnswerLost):
            get(http, path)
        assert get(http, "/broken").body == b"oops"


def test_a_packed_answer_is_unpacked(http: HttpTransport) -> None:
    """What is read is what was meant."""
    assert get(http, "/zipped").body == b'{"a": 1}'


def test_an_answer_of_just_the_limit_is_read(http: HttpTransport) -> None:
    """All of it."""
    assert len(get(http, "/limit").body) == ANSWER_LIMIT


@pytest.mark.parametrize("path", ["/oversized", "/bomb"])
def test_an_answer_over_the_limit_is_lost(http: HttpTransport, path: str) -> None:
    """Nobody fills our memory, on the wire or by unpacking."""
    with pytest.raises(AnswerLost, match=f"longer than {ANSWER_LIMIT} bytes"):
        get(http, path)


# ── Through an application in this process ───────────────────────────────────────────────────────────────


@pytest.fixture
def wsgi() -> WsgiTransport:
    """A transport through a small Flask application."""
    app = flask.Flask("participant")

    @app.route("/echo/<path:rest>", methods=["POST", "PUT", "DELETE"])
    def echo(rest: str) -> tuple[dict[str, object], int, dict[str, str]]:
        asked = flask.request
        body = asked.get_data(as_text=True)
        seen = {
            "method": asked.method,
            "rest": rest,
            "key": asked.headers["X-Key"],
            "body": body,
            "json": asked.is_json,
        }
        return seen, 201, {"X-Answered": "Yes"}

    @app.get("/elsewhere")
    def elsewhere() -> flask.typing.ResponseReturnValue:
        return flask.redirect("/")

    @app.get("/broken")
    def broken() -> str:
        raise ValueError("oops")

    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response(iter([b"a", b"b"]))

    return WsgiTransport(app.wsgi_app)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_application_sees_what_a_server_would_show_it(wsgi: WsgiTransport, method: str) -> None:
    """The same routes and bytes, and no socket."""
    headers = {"X-Key": "k", "Content-Type": "application/json"}
    answer = wsgi.send(method, "/echo/Zo%C3%AB%20x", headers, b'{"n": 1}', 1)
    assert (answer.status, answer.headers["x-answered"]) == (201, "Yes")
    seen = {"method": method, "rest": "Zoë x", "key": "k", "body": '{"n": 1}', "json": True}
    assert json.loads(answer.body) == seen


def test_the_application_may_get_no_body(wsgi: WsgiTransport) -> None:
    """As a DELETE mostly does."""
    assert json.loads(wsgi.send("DELETE", "/echo/x", {"X-Key": "k"}, None, 1).body)["body"] == ""


def test_a_query_is_part_of_the_path(wsgi: WsgiTransport) -> None:
    """And a question mark that was quoted is not."""
    assert json.loads(wsgi.send("PUT", "/echo/a%3Fb", {"X-Key": ""}, None, 1).body)["rest"] == "a?b"
    assert json.loads(wsgi.send("PUT", "/echo/a?b", {"X-Key": ""}, None, 1).body)["rest"] == "a"


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/elsewhere", 302), ("/broken", 500)])
def test_the_application_answers_what_it_would_over_the_network(
    wsgi: WsgiTransport, path: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing route, a redirect that is not followed, an error of its own."""
    assert get(wsgi, path).status == status
    assert ("oops" in caplog.text) == (status == 500)


def test_a_streamed_answer_is_read_to_its_end(wsgi: WsgiTransport) -> None:
    """It comes in pieces, and is one answer."""
    assert get(wsgi, "/stream").body == b"ab"


Start = Callable[..., Callable[[bytes], None]]


def test_an_answer_that_is_written_is_read_before_what_is_returned() -> None:
    """The older of the two ways that PEP 3333 has, and both in one answer; the head may come with the first chunk."""

    def app(environ: dict[str, object], start: Start) -> Iterator[bytes]:
        del environ
        start("201 Created", [("X-Answered", "Yes")])(b"a")
        yield b"b"

    assert get(WsgiTransport(app), "/") == Answer(201, {"x-answered": "Yes"}, b"ab")


def test_an_answer_is_closed_when_it_is_read() -> None:
    """What an application holds open for it is given back, also when it breaks on the way."""
    closed = []

    class Chunks(list[bytes]):
        def close(self) -> None:
            closed.append(b"".join(self))

    def app(environ: dict[str, object], start: Start) -> Chunks:
        del environ
        start("200 OK", [])
        return Chunks([b"a", b"b"])

    assert get(WsgiTransport(app), "/").body == b"ab"
    assert closed == [b"ab"]


def test_an_application_that_lets_an_error_through_leaves_the_answer_lost() -> None:
    """It may have acted before."""

    def app(environ: dict[str, object], start: Start) -> list[bytes]:
        del environ, start
        raise ValueError("oops")

    with pytest.raises(AnswerLost, match="the application failed: ValueError: oops"):
        get(WsgiTransport(app), "/")


def test_an_application_that_breaks_while_it_streams_leaves_the_answer_lost() -> None:
    """A head of 200 is no answer yet."""

    def app(environ: dict[str, object], start: Start) -> Iterator[bytes]:
        del environ
        start("200 OK", [])
        yield b"{"
        raise ValueError("oops")

    with pytest.raises(AnswerLost, match="ValueError: oops"):
        get(WsgiTransport(app), "/")
