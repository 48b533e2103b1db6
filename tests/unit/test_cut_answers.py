"""Half an answer is none: wherever it is cut, however slowly it comes, and whatever it is packed in."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from saga_es.core.outcomes import Completed, Unknown
from saga_es.runtime.calls.answers import Answer, AnswerLost
from saga_es.runtime.calls.outcomes import outcome_of_answer
from saga_es.runtime.calls.reading import ANSWER_LIMIT, HEAD_LIMIT, Reading, Unreadable
from saga_es.runtime.calls.transport import HttpTransport
from tests.support.raw_servers import Authority, over_tls, raw_server, request_of, saying

pytestmark = pytest.mark.usefixtures("each_way")

TIMEOUT_S = 20.0
SHORT_S = 0.3

BODY = b'{"room": 7, "of": [1, 2, 3]}'
PACKED = gzip.compress(BODY, mtime=0)
HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"


def sized(body: bytes, *lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, *lines: bytes) -> bytes:
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]))
    head = HEAD + b"".join(line + b"\r\n" for line in lines)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


WHOLE = {
    "with a length": sized(BODY),
    "in chunks": chunked(BODY),
    "packed, with a length": sized(PACKED, b"Content-Encoding: gzip"),
    "packed, in chunks": chunked(PACKED, b"Content-Encoding: gzip"),
    "until the connection ends": HEAD + b"\r\n" + BODY,
    "packed, until the connection ends": HEAD + b"Content-Encoding: gzip\r\n\r\n" + PACKED,
    "after interim answers": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    + sized(BODY),
}


def ask(port: int, timeout_s: float = TIMEOUT_S, scheme: str = "http") -> Answer:
    transport = HttpTransport(f"{scheme}://127.0.0.1:{port}")
    try:
        return transport.send("POST", "/x", {}, b"{}", timeout_s)
    finally:
        transport.close()


@pytest.mark.parametrize("form", WHOLE)
def test_an_answer_that_is_cut_anywhere_is_unknown(form: str) -> None:
    """In the status line, the headers, the body, or what the body is packed in; and whole it is whole."""
    whole, place = WHOLE[form], count()

    def script(taken: socket.socket) -> None:
        request_of(taken)
        taken.sendall(whole[: next(place)])

    with raw_server(script) as server:
        for length in range(len(whole)):
            try:
                outcome = outcome_of_answer(ask(server.port))
            except AnswerLost:
                continue
            assert isinstance(outcome, Unknown), f"cut after {length} bytes: {whole[:length]!r}"
        assert outcome_of_answer(ask(server.port)) == Completed({"room": 7, "of": [1, 2, 3]})


@pytest.mark.parametrize("pieces", [[], [b"H"], [b"HT", b"TP/1.1 200"]])
def test_an_answer_that_was_cut_differs_from_none(pieces: list[bytes]) -> None:
    """A person who looks for the fault is told which it was; and what came is counted."""
    reading = Reading("POST")
    for piece in pieces:
        assert reading.take(piece) is None
    assert (reading.received, reading.first) == (sum(map(len, pieces)), b"".join(pieces)[:2])
    why = "the answer was cut" if pieces else "the connection was closed without an answer"
    with pytest.raises(Unreadable, match=why):
        reading.take(b"")


@pytest.mark.parametrize("body", [b"12345", b"-1.5e3", b"0"])
def test_a_number_that_ends_with_the_connection_is_unknown(body: bytes) -> None:
    """It may have been longer. With a length, or a blank after it, it is what it is."""
    for answer, is_known in (
        (HEAD + b"\r\n" + body, False),
        (HEAD + b"\r\n" + body + b"\n", True),
        (sized(body), True),
    ):
        with raw_server(saying(answer)) as server:
            assert isinstance(outcome_of_answer(ask(server.port)), Completed if is_known else Unknown)


def test_an_answer_without_a_length_and_without_a_content_is_done() -> None:
    """Old servers end such an answer with the connection, and announce no content."""
    with raw_server(saying(b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n")) as server:
        assert outcome_of_answer(ask(server.port)) == Completed()


def test_a_connection_of_tls_that_breaks_does_not_end_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that ends with the connection is whole when TLS says that it ends (RFC 9112, 9.8)."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    answer = HEAD + b"\r\n[1]"

    def broken(taken: socket.socket) -> None:
        request_of(taken)
        taken.sendall(answer)
        taken.shutdown(socket.SHUT_RDWR)  # of the connection below, without a word of TLS

    with raw_server(over_tls(authority.context(), saying(answer))) as server:
        assert ask(server.port, scheme="https").body == b"[1]"
    with raw_server(over_tls(authority.context(), broken)) as server, pytest.raises(AnswerLost):
        ask(server.port, scheme="https")


# ── Interim answers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [100, 102, 103, 199])
@pytest.mark.parametrize("times", [1, 3])
def test_interim_answers_are_passed_over(status: int, times: int) -> None:
    """The answer is the one after them, also on a connection that is kept."""
    interim = b"HTTP/1.1 %d Wait\r\nX-Step: 1\r\n\r\n" % status * times

    def script(taken: socket.socket) -> None:
        while request_of(taken):
            taken.sendall(interim + sized(BODY))

    with raw_server(script) as server:
        transport = HttpTransport(f"http://127.0.0.1:{server.port}")
        for _ in range(3):
            answer = transport.send("POST", "/x", {}, b"{}", TIMEOUT_S)
            assert (answer.status, answer.body) == (201, BODY)
        assert len(transport._connections._idle) == 1
        transport.close()


@pytest.mark.parametrize("cut", [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
def test_an_interim_answer_is_no_answer(cut: bytes) -> None:
    """Nobody asked for another protocol either."""
    with raw_server(saying(cut)) as server:
        try:
            outcome = outcome_of_answer(ask(server.port))
        except AnswerLost:
            return
        assert isinstance(outcome, Unknown)


# ── Slow answers ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def dripping(before: bytes, drop: bytes, gap_s: float = 0.02) -> Iterator[int]:
    """A server that says something at once, and then the same piece for ever, each well within the time-out."""
    closing = threading.Event()

    def script(taken: socket.socket) -> None:
        request_of(taken)
        taken.sendall(before)
        while not closing.wait(gap_s):
            taken.sendall(drop)

    with raw_server(script) as server:
        try:
            yield server.port
        finally:
            closing.set()


@pytest.mark.parametrize(
    ("before", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK", b"K"),
        (HEAD, b"X-Wait: 1\r\n"),
        (HEAD + b"X: ", b"y"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: 1\r\n"),
        (HEAD + b"\r\n", b" "),
    ],
)
def test_one_deadline_covers_the_whole_exchange(before: bytes, drop: bytes) -> None:
    """Wherever it drips: a thread is held as long as the step allows, and no longer."""
    began_at = time.monotonic()
    with dripping(before, drop) as port, pytest.raises(AnswerLost):
        ask(port, SHORT_S)
    assert time.monotonic() - began_at < TIMEOUT_S


# ── Limits ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "drop"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
        (HEAD, b"X-More: 1\r\n" * 1000),
        (HEAD + b"X: ", b"y" * HEAD_LIMIT),
        (b"", b"y" * HEAD_LIMIT),
        (HEAD + b"\r\n", b"x" * 65_536),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 60_000 + b"\r\ny\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: 1\r\n" * 1000),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"x" * 65_536),
    ],
)
def test_no_answer_fills_our_memory(before: bytes, drop: bytes) -> None:
    """Each part of it has a limit, and is given up there and not at the deadline."""
    with dripping(before, drop, gap_s=0.0) as port, pytest.raises(AnswerLost, match=r"long|small|size|more than 100"):
        ask(port)


def test_an_unpacked_answer_has_the_same_limit() -> None:
    """It is counted while it is unpacked, also when it is packed in pieces, and of just the limit it is read."""
    for body, is_read in ((b"x" * ANSWER_LIMIT, True), (b"x" * (ANSWER_LIMIT + 1), False), (b"x" * 20_000_000, False)):
        half = len(body) // 2
        pieces = gzip.compress(body[:half]) + gzip.compress(body[half:])
        with raw_server(saying(sized(pieces, b"Content-Encoding: gzip"))) as server:
            if is_read:
                assert len(ask(server.port).body) == ANSWER_LIMIT
                continue
            with pytest.raises(AnswerLost, match=f"longer than {ANSWER_LIMIT} bytes when it is unpacked"):
                ask(server.port)


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", PACKED),
        (b"X-GZip", PACKED),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", zlib.compress(BODY)[2:-4]),
        (b"identity", BODY),
    ],
)
def test_what_servers_call_gzip_and_deflate_is_unpacked(coding: bytes, packed: bytes) -> None:
    """Some send deflate without its frame."""
    with raw_server(saying(sized(packed, b"Content-Encoding: " + coding))) as server:
        assert ask(server.port).body == BODY


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Encoding: br\r\nContent-Length: 2\r\n",
        b"Content-Encoding: gzip, gzip\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nContent-Length: 5\r\n",
        b"Content-Length: 2, 5\r\n",
        b"Content-Length: -2\r\n",
        b"Content-Length: two\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
    ],
)
def test_an_answer_whose_end_would_be_a_guess_is_lost(head: bytes) -> None:
    """Two lengths, none that can be read, or a form that was not asked for (RFC 9112, 6.3)."""
    with raw_server(saying(HEAD + head + b"\r\n{}")) as server, pytest.raises(AnswerLost):
        ask(server.port)
