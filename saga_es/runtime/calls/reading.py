"""Reading one answer from a connection: by a deadline, within limits, and never less than the whole of it.

`http.client` takes the end of the connection for the end of a line, and so half a head for a whole one. The library
`zlib` does not say that a compressed body ended early. Both are looked at here: half an answer is none.
"""

from __future__ import annotations

import socket
import zlib
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Any

from saga_es.logs.secrets import harmless
from saga_es.runtime.calls.answers import Answer
from saga_es.store.host_time import monotonic_s

ANSWER_LIMIT = 1_048_576
"""The most bytes of an answer that are read, and that are unpacked; a longer answer counts as lost."""

HEAD_LIMIT = 65_536
"""The most bytes of the heads of an answer: its own, and those of the interim answers before it."""

LINES_LIMIT = 8 * ANSWER_LIMIT
"""The most bytes of the lines between the chunks of a body."""

READ_SIZE = 65_536

SWITCHING_PROTOCOLS = 101
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})


class Unreadable(Exception):
    """The answer was cut, is too long, or is not in the form that its head announces."""


class Reader(BufferedReader):
    """What a connection receives after one request; closing it does not close the connection.

    Args:
        sock: The connection.
        deadline: When the answer must be complete, by the monotonic clock.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._wire = _Wire(sock, deadline)
        super().__init__(self._wire)
        self._lines_left = HEAD_LIMIT

    def readline(self, size: int | None = -1, /) -> bytes:
        """One line of a head, or one between two chunks, with its end."""
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise Unreadable("the answer was cut" if self.received else "the connection was closed without an answer")
        self._lines_left -= len(line)
        if self._lines_left < 0:
            raise Unreadable(f"the head of the answer is longer than {HEAD_LIMIT} bytes, or its chunks are too small")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes; all there are is refused, which a chunk of negative size would ask for."""
        if size is None or size < 0:
            raise Unreadable("the answer has a chunk of no readable size")
        return super().read(size)

    def close(self) -> None:
        """Do nothing: `HTTPResponse` closes what it has read, and the connection may be used again."""

    @property
    def received(self) -> int:
        """How many bytes have come."""
        return self._wire.received

    @property
    def first(self) -> bytes:
        """The first two bytes that have come."""
        return self._wire.first

    def head_is_read(self) -> None:
        """Count lines from now on as those between chunks."""
        self._lines_left = LINES_LIMIT

    def has_more(self) -> bool:
        """Whether more came than the answer: then nobody knows what the next answer belongs to."""
        self._wire.is_closed_for_reading = True
        return bool(self.peek(1))


class _Wire(RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self.received = 0
        self.first = b""
        self.is_closed_for_reading = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self.is_closed_for_reading:
            return 0
        self._sock.settimeout(left_s(self._deadline))
        count = self._sock.recv_into(buffer)
        if not self.received:
            self.first = bytes(buffer[: min(count, 2)])
        self.received += count
        return count


def left_s(deadline: float) -> float:
    """The seconds until the deadline, by the monotonic clock.

    Raises:
        TimeoutError: It has passed. A participant that drips bytes would never let a socket's own time-out pass.
    """
    left = deadline - monotonic_s()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left


class FinalAnswer(HTTPResponse):
    """The answer after the interim ones (100, 102, 103), which are passed over (RFC 9110, 15.2).

    Args:
        reader: What the connection receives.
        method: The method of the request.
    """

    fp: Reader

    def __init__(self, reader: Reader, method: str) -> None:
        super().__init__(_Opened(reader), method=method)  # type: ignore[arg-type]  # only `makefile` is asked for

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        while self.status < 200 and self.status != SWITCHING_PROTOCOLS:  # noqa: PLR2004 (the class of interim answers)
            self.headers = None  # type: ignore[assignment]  # `begin` reads a head only while there is none
            super().begin()

    def whole(self) -> Answer:
        """The answer with its whole body, unpacked.

        Raises:
            Unreadable: There is no whole answer.
            OSError: The connection broke, or the time is up.
            HTTPException: It is not HTTP.
        """
        reader = self.fp
        self.begin()
        reader.head_is_read()
        self._check_framing()
        ends_with_connection = not self.chunked and self.length is None
        body = self._unpacked(self._content())
        if ends_with_connection and not body and self.headers["Content-Type"]:
            raise Unreadable("the answer was cut: it announces a content without a length, and has none")
        return Answer(self.status, harmless(self.headers.items()), body, ends_with_connection)

    def _check_framing(self) -> None:
        """Refuse a length that cannot be understood (RFC 9112, 6.3): the end of the answer would be a guess."""
        coding = (self.headers["Transfer-Encoding"] or "").strip().lower()
        if coding not in {"", "chunked"}:
            raise Unreadable("the answer has a transfer coding that was not asked for")
        given = ",".join(self.headers.get_all("Content-Length") or ())
        lengths = {length.strip() for length in given.split(",")}
        if given and not (len(lengths) == 1 and given.partition(",")[0].strip().isdecimal() and given.isascii()):
            raise Unreadable(f"the answer has no readable length: {given!a:.80}")
        if given and coding:
            raise Unreadable("the answer has two lengths: chunks, and a Content-Length")

    def _content(self) -> bytes:
        content = bytearray()
        while chunk := self.read(min(READ_SIZE, ANSWER_LIMIT + 1 - len(content))):
            content += chunk
            if len(content) > ANSWER_LIMIT:
                raise Unreadable(f"the answer is longer than {ANSWER_LIMIT} bytes")
        if self.length:
            raise Unreadable(f"the answer was cut: {self.length} bytes of its body are missing")
        return bytes(content)

    def _unpacked(self, content: bytes) -> bytes:
        codings = ",".join(self.headers.get_all("Content-Encoding") or ()).lower()
        coding = codings.strip()
        if coding in {"", "identity"} or not content:
            return content
        if coding not in _PACKED:
            raise Unreadable(f"the answer is packed in a way that was not asked for: {coding!a:.80}")
        return unpacked(content)


class _Opened:
    """What `HTTPResponse` takes for a socket."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> Reader:
        assert mode == "rb", "an answer is read"
        return self._reader


def unpacked(content: bytes) -> bytes:
    """A body in gzip or deflate, unpacked as far as the limit.

    Raises:
        Unreadable: It is cut, broken, or longer than the limit.
    """
    try:
        return _inflated(content, _GZIP_OR_ZLIB)
    except zlib.error:
        pass
    try:
        return _inflated(content, _RAW_DEFLATE)  # what some servers call deflate
    except zlib.error as error:
        raise Unreadable(f"the packed answer is broken: {error}") from error


def _inflated(content: bytes, form: int) -> bytes:
    made = bytearray()
    while content:
        inflate = zlib.decompressobj(form)
        made += inflate.decompress(content, ANSWER_LIMIT + 1 - len(made))
        if len(made) > ANSWER_LIMIT:
            raise Unreadable(f"the answer is longer than {ANSWER_LIMIT} bytes when it is unpacked")
        if not inflate.eof:
            raise Unreadable("the packed answer was cut")
        content = inflate.unused_data  # a gzip file may have several members (RFC 1952, 2.2)
    return bytes(made)
