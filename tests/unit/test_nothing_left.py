"""Errors sorted by the one question that counts: can a byte of the request have left? Real sockets, and real TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from saga_es.runtime.calls.address import address_of
from saga_es.runtime.calls.answers import AnswerLost, NotSent
from saga_es.runtime.calls.connections import Connections, NothingLeft, _Connection
from saga_es.runtime.calls.opening import opened
from saga_es.runtime.calls.transport import HttpTransport
from tests.support.raw_servers import Authority, Script, over_tls, raw_server, request_of, reset, saying

pytestmark = pytest.mark.usefixtures("each_way")

TIMEOUT_S = 20.0
SHORT_S = 0.3
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ALERT = b"\x15\x03\x03\x00\x02\x02\x0a"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the tests trust."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Participants certified by the authority of the tests are trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


@contextmanager
def sending_to(url: str) -> Iterator[HttpTransport]:
    transport = HttpTransport(url, name="participant 'bank'")
    try:
        yield transport
    finally:
        transport.close()


def send(url: str, timeout_s: float = TIMEOUT_S) -> bytes:
    with sending_to(url) as transport:
        return transport.send("POST", "/x", {}, b"{}", timeout_s).body


# ── Nothing was sent ─────────────────────────────────────────────────────────────────────────────────────


def silent(taken: socket.socket) -> None:
    """Read, and never answer."""
    while taken.recv(65_536):
        pass


def dripping_handshake(taken: socket.socket) -> None:
    """A record of the handshake that comes byte by byte, and never ends."""
    taken.recv(65_536)
    taken.sendall(b"\x16\x03\x03\x40\x00")
    gone = threading.Event()
    while not gone.wait(0.02):
        taken.sendall(b"\x02")


def hello_then(rest: Script) -> Script:
    """Read the client's hello, then do the rest."""

    def script(taken: socket.socket) -> None:
        taken.recv(65_536)
        rest(taken)

    return script


def wants_a_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same TLS, which also asks the client for a certificate."""
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "https://no-such-host.invalid:8443/base"])
def test_a_host_name_that_is_not_known_means_not_sent(url: str) -> None:
    """Resolution comes before everything else."""
    with pytest.raises(NotSent, match="participant 'bank' cannot be reached: its host name is not known"):
        send(url)


@pytest.mark.parametrize("url", ["http://255.255.255.255:9", "http://[::ffff:255.255.255.255]:9"])
def test_an_unreachable_network_means_not_sent(url: str) -> None:
    """The system knows no way there."""
    with pytest.raises(NotSent, match="participant 'bank' cannot be reached"):
        send(url)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection_means_not_sent(scheme: str) -> None:
    """Nobody listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    with pytest.raises(NotSent, match="refused"):
        send(f"{scheme}://127.0.0.1:{port}")


def test_a_connection_that_is_not_taken_in_time_means_not_sent() -> None:
    """The queue of the listener is full: the system drops what asks to connect."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.0)
            waiting.connect_ex(listening.getsockname())
        with pytest.raises(NotSent, match="it took longer than"):
            send(f"http://127.0.0.1:{listening.getsockname()[1]}", SHORT_S)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda ours, _: ours.context(is_own=False), "self-signed"),
        (lambda ours, _: ours.context(days_ago=3), "expired"),
        (lambda ours, _: ours.context("elsewhere.example"), "IP address mismatch"),
        (lambda _, stranger: stranger.context(), "signature failure|unable to get"),
    ],
    ids=["signed by itself", "expired", "of another host", "of a stranger's authority"],
)
def test_a_certificate_that_is_not_valid_means_not_sent(
    authority: Authority, tmp_path: Path, made: Callable[[Authority, Authority], ssl.SSLContext], why: str
) -> None:
    """The handshake fails on our side, before the request; and the cure is told."""
    tls = made(authority, Authority(tmp_path))
    words = f"certificate is not valid here: .*({why}).*SSL_CERT_FILE"
    with raw_server(over_tls(tls, saying(DONE))) as server, pytest.raises(NotSent, match=words):
        send(f"https://127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    "script",
    [
        hello_then(lambda taken: taken.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
        hello_then(lambda taken: taken.sendall(ALERT)),
        hello_then(lambda _: None),
        hello_then(reset),
        silent,
        dripping_handshake,
    ],
    ids=["an http port", "an alert", "closed", "reset", "silent", "dripping"],
)
def test_a_handshake_that_fails_means_not_sent(script: Script) -> None:
    """Whatever ends it: the request comes after it."""
    with raw_server(script) as server, pytest.raises(NotSent, match="participant 'bank' cannot be reached"):
        send(f"https://127.0.0.1:{server.port}", 1.0)


def test_a_certificate_of_ours_that_is_missing_means_not_sent(authority: Authority) -> None:
    """In TLS 1.3 the refusal comes when the request has left; but who ends the handshake reads no request."""
    tls = wants_a_certificate(authority.context())
    with raw_server(over_tls(tls, saying(DONE))) as server, pytest.raises(NotSent, match="certificate required"):
        send(f"https://127.0.0.1:{server.port}")


def test_plain_http_that_is_answered_with_an_alert_of_tls_means_not_sent() -> None:
    """TLS took the request for a broken record: no server behind it has seen it."""
    with raw_server(saying(ALERT)) as server, pytest.raises(NotSent, match="its URL has to begin with https://"):
        send(f"http://127.0.0.1:{server.port}")


def test_a_request_that_cannot_be_written_means_not_sent() -> None:
    """A header with a line break is no header."""
    with sending_to("http://127.0.0.1:9") as transport, pytest.raises(NotSent, match="header"):
        transport.send("POST", "/x", {"X-Saga-Id": "a\r\nb"}, b"{}", TIMEOUT_S)


# ── Kept connections ─────────────────────────────────────────────────────────────────────────────────────


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(authority: Authority) -> None:
    """A new one is opened: nobody is told of it, and nothing is sent twice."""
    came: list[bytes] = []

    def script(taken: socket.socket) -> None:
        came.append(request_of(taken))
        taken.sendall(DONE)

    plain, tls = script, over_tls(authority.context(), script)
    for scheme, one in (("http", plain), ("https", tls)):
        came.clear()
        with raw_server(one) as server, sending_to(f"{scheme}://127.0.0.1:{server.port}") as transport:
            for _ in range(3):
                assert transport.send("POST", "/x", {}, b"{}", TIMEOUT_S).body == b"{}"
                (kept,) = transport._connections._idle
                until(lambda kept=kept: not kept.is_quiet())  # type: ignore[misc]
        assert len(came) == 3


def until(is_so: Callable[[], bool]) -> None:
    given_up_at = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < given_up_at, "it never came"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_breaks_before_the_first_byte_means_nothing_left(authority: Authority, scheme: str) -> None:
    """It was open when it was looked at, and is not when the first byte is handed to the system."""
    gone = threading.Event()

    def script(taken: socket.socket) -> None:
        gone.wait(TIMEOUT_S)
        reset(taken)

    with raw_server(over_tls(authority.context(), script) if scheme == "https" else script) as server:
        address = address_of(f"{scheme}://127.0.0.1:{server.port}")
        connections = Connections(address, 1)
        connection = _Connection(opened(connections._way, time.monotonic() + TIMEOUT_S), connections._way)
        gone.set()
        until(lambda: not connection.is_quiet())
        with pytest.raises(NothingLeft):
            connection.exchange(b"POST / HTTP/1.1\r\n\r\n", "POST", time.monotonic() + TIMEOUT_S)
        connection.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_kept_connection_that_ends_after_the_first_byte_means_the_answer_is_lost(
    authority: Authority, scheme: str
) -> None:
    """The participant read the second request, and may have acted on it."""
    came: list[bytes] = []

    def script(taken: socket.socket) -> None:
        came.append(request_of(taken))
        taken.sendall(DONE)
        came.append(request_of(taken))

    one = over_tls(authority.context(), script) if scheme == "https" else script
    with raw_server(one) as server, sending_to(f"{scheme}://127.0.0.1:{server.port}") as transport:
        transport.send("POST", "/x", {}, b"{}", TIMEOUT_S)
        with pytest.raises(AnswerLost, match="no answer from participant 'bank'"):
            transport.send("POST", "/x", {}, b"{}", TIMEOUT_S)
    assert len(came) == 2


def test_unasked_words_on_a_kept_connection_are_no_answer_to_the_next_request() -> None:
    """Whoever says more than was asked is asked again on a new connection."""
    taken_ones: list[int] = []

    def script(taken: socket.socket) -> None:
        taken_ones.append(1)
        request_of(taken)
        taken.sendall(DONE + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        taken.recv(1)

    with raw_server(script) as server, sending_to(f"http://127.0.0.1:{server.port}") as transport:
        for _ in range(2):
            assert transport.send("POST", "/x", {}, b"{}", TIMEOUT_S).body == b"{}"
    assert len(taken_ones) == 2


# ── It may have been ─────────────────────────────────────────────────────────────────────────────────────


def test_plain_http_to_a_port_that_closes_without_a_word_means_the_answer_is_lost(authority: Authority) -> None:
    """It may be TLS, and may be a participant that acted and died: nobody can tell."""
    with raw_server(over_tls(authority.context(), saying(DONE))) as server, pytest.raises(AnswerLost):
        send(f"http://127.0.0.1:{server.port}")


def test_a_request_over_tls_is_answered(authority: Authority) -> None:
    """By name and by number, with the certificate of an authority that is trusted."""
    for host, where in (("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")):
        with raw_server(over_tls(authority.context(where), saying(DONE))) as server:
            assert send(f"https://{host}:{server.port}") == b"{}"


def test_a_large_request_of_which_a_part_has_left_is_not_known() -> None:
    """The participant reads the head, and closes while the body is still being sent."""

    def script(taken: socket.socket) -> None:
        taken.recv(1000)
        reset(taken)

    with raw_server(script) as server, sending_to(f"http://127.0.0.1:{server.port}") as transport:
        large = b"x" * 50_000_000
        with pytest.raises(AnswerLost):
            transport.send("POST", "/x", {}, large, TIMEOUT_S)


def test_no_error_shows_the_url() -> None:
    """Its path may be a secret; the participant's name is not."""
    with raw_server(saying(b"")) as server:
        for base in (f"http://127.0.0.1:{server.port}/SECRET", "http://127.0.0.1:1/SECRET", "https://x.invalid/SECRET"):
            with pytest.raises((NotSent, AnswerLost)) as caught:
                send(base)
            assert "SECRET" not in str(caught.value)
            assert "'bank'" in str(caught.value)
