"""Reading one answer from the bytes that come: within limits, and never less than the whole of it.

Nothing here waits. Whoever has a connection gives what it receives, on a thread or on an event loop, and is told when
the answer is whole. Libraries take the end of the connection for the end of a line, and so half a head for a whole one,
and `zlib` does not say that a compressed body ended early. Both are looked at here: half an answer is none.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator
from typing import NamedTuple, TypeVar

from saga_es.logs.secrets import harmless
from saga_es.runtime.calls.answers import Answer
from saga_es.store.host_time import monotonic_s

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Reads a part of the answer; it stops wherever more bytes are needed."""

ANSWER_LIMIT = 1_048_576
"""The most bytes of an answer that are read, and that are unpacked; a longer answer counts as lost."""

HEAD_LIMIT = 65_536
"""The most bytes of the heads of an answer: its own, and those of the interim answers before it."""

HEADERS_LIMIT = 100
"""The most headers of an answer."""

LINE_LIMIT = 65_536
"""The most bytes of one line between the chunks of a body."""

LINES_LIMIT = 8 * ANSWER_LIMIT
"""The most bytes of the lines between the chunks of a body."""

READ_SIZE = 65_536

SWITCHING_PROTOCOLS = 101
_WITHOUT_CONTENT = frozenset({204, 304})
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.\d[ \t]+1(?!01)\d\d\s")
_STATUS_LINE = re.compile(r"HTTP/1\.(\d)[ \t]+([1-9]\d\d)(?:[ \t].*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_FRAMING = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection"})
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})


class Unreadable(Exception):
    """The answer was cut, is too long, or is not in the form that its head announces."""


class Reading:
    """Reads the answer to one request.

    Args:
        method: The method of the request.

    Attributes:
        answer: The answer, once it is whole.
        is_last: Whether the connection ends with it.
        received: How many bytes have come.
        first: The first two of them.
    """

    def __init__(self, method: str) -> None:
        self.answer: Answer | None = None
        self.is_last = True
        self.received = 0
        self.first = b""
        self._method = method
        self._buffer = bytearray()
        self._has_ended = False
        self._heads_left = HEAD_LIMIT
        self._lines_left = LINES_LIMIT
        self._steps = self._read()
        next(self._steps)

    def take(self, data: bytes) -> Answer | None:
        """Take what came; nothing: the connection has ended. Returns the answer if it is whole now.

        Raises:
            Unreadable: There will be no whole answer.
        """
        if len(self.first) < 2:  # noqa: PLR2004 (an alert of TLS is known by so many)
            self.first = (self.first + data)[:2]
        self.received += len(data)
        self._has_ended = not data
        self._buffer += data
        try:
            next(self._steps)
        except StopIteration as whole:
            self.answer = whole.value
        return self.answer

    def has_more(self) -> bool:
        """Whether more came than the answer: then nobody knows what the next answer belongs to."""
        return bool(self._buffer)

    def _read(self) -> Steps[Answer]:
        """The answer after the interim ones (100, 102, 103), which are passed over (RFC 9110, 15.2)."""
        yield
        lines = yield from self._lines_of_head()
        while _INTERIM.match(lines):
            lines = yield from self._lines_of_head()
        head = _head_of(lines)
        self.is_last = head.is_last
        ends_with_connection = False
        if self._method == "HEAD" or head.status in _WITHOUT_CONTENT or head.status == SWITCHING_PROTOCOLS:
            content = b""
        elif head.is_chunked:
            content = yield from self._chunks()
        elif head.length is not None:
            content = yield from self._exactly(head.length)
        else:
            self.is_last = ends_with_connection = True
            content = yield from self._rest()
        body = _unpacked(head, content)
        if ends_with_connection and not body and head.value("content-type"):
            raise Unreadable("the answer was cut: it announces a content without a length, and has none")
        return Answer(head.status, harmless(head.headers), body, ends_with_connection)

    # ── Parts ────────────────────────────────────────────────────────────────────────────────────────────

    def _more(self) -> Steps[None]:
        if self._has_ended:
            raise Unreadable("the answer was cut" if self.received else "the connection was closed without an answer")
        yield

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _lines_of_head(self) -> Steps[bytes]:
        looked_at = 0
        while True:
            found = _END_OF_HEAD.search(self._buffer, max(0, looked_at - 2))
            size = len(self._buffer) if found is None else found.end()
            if size > self._heads_left:
                raise Unreadable(f"the head of the answer is longer than {HEAD_LIMIT} bytes")
            if found is not None:
                self._heads_left -= size
                return self._taken(size)
            looked_at = size
            yield from self._more()

    def _line(self) -> Steps[bytes]:
        """A line between chunks, with its end."""
        looked_at = 0
        while (end := self._buffer.find(b"\n", looked_at)) < 0:
            looked_at = len(self._buffer)
            if looked_at > LINE_LIMIT:
                break
            yield from self._more()
        if end < 0 or end > LINE_LIMIT:
            raise Unreadable(f"a line between the chunks of the answer is longer than {LINE_LIMIT} bytes")
        self._lines_left -= end + 1
        if self._lines_left < 0:
            raise Unreadable("the chunks of the answer are too small, or its trailer is too long")
        return self._taken(end + 1)

    def _exactly(self, size: int) -> Steps[bytes]:
        if size > ANSWER_LIMIT:
            raise Unreadable(f"the answer is longer than {ANSWER_LIMIT} bytes")
        while len(self._buffer) < size:
            if self._has_ended:
                raise Unreadable(f"the answer was cut: {size - len(self._buffer)} bytes of its body are missing")
            yield
        return self._taken(size)

    def _rest(self) -> Steps[bytes]:
        while len(self._buffer) <= ANSWER_LIMIT:
            if self._has_ended:
                return self._taken(len(self._buffer))
            yield
        raise Unreadable(f"the answer is longer than {ANSWER_LIMIT} bytes")

    def _chunks(self) -> Steps[bytes]:
        content = bytearray()
        while size := (yield from self._size_of_chunk()):
            if len(content) + size > ANSWER_LIMIT:
                raise Unreadable(f"the answer is longer than {ANSWER_LIMIT} bytes")
            content += yield from self._exactly(size)
            if (yield from self._line()) != b"\r\n":
                raise Unreadable("a chunk of the answer is longer than its size")
        while (yield from self._line()) not in {b"\r\n", b"\n"}:  # the trailer
            pass
        return bytes(content)

    def _size_of_chunk(self) -> Steps[int]:
        size = (yield from self._line()).partition(b";")[0].strip()
        if not _SIZE.fullmatch(size):
            raise Unreadable("the answer has a chunk of no readable size")
        return int(size, 16)


def left_s(deadline: float) -> float:
    """The seconds until the deadline, by the monotonic clock.

    Raises:
        TimeoutError: It has passed. A participant that drips bytes would never let a socket's own time-out pass.
    """
    left = deadline - monotonic_s()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left


# ── Heads ────────────────────────────────────────────────────────────────────────────────────────────────


class _Head(NamedTuple):
    """The head of an answer, names of headers in lower case.

    Attributes:
        length: The bytes of the content; None: it is not told.
    """

    status: int
    headers: list[tuple[str, str]]
    is_chunked: bool
    length: int | None
    is_last: bool

    def value(self, name: str) -> str:
        """All values of a header, separated by commas."""
        return _value(self.headers, name)


def _value(headers: list[tuple[str, str]], name: str) -> str:
    return ",".join(value for header, value in headers if header == name)


def _head_of(lines: bytes) -> _Head:
    first, *rest = lines.decode("latin-1").replace("\r\n", "\n").split("\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise Unreadable(f"it is no answer of HTTP/1.1: {first!a:.80}")
    headers = _headers(rest)
    said = _value(headers, "connection").lower()
    is_last = "close" in said if found[1] != "0" else "keep-alive" not in said
    coding = _value(headers, "transfer-encoding").strip().lower()
    if coding not in {"", "chunked"}:
        raise Unreadable("the answer has a transfer coding that was not asked for")
    length = _length(_value(headers, "content-length"))
    if length is not None and coding:
        raise Unreadable("the answer has two lengths: chunks, and a Content-Length")
    return _Head(int(found[2]), headers, bool(coding), length, is_last)


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        if not line:
            continue
        if line[0] in " \t" and headers:  # a folded line (RFC 9112, 5.2)
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        is_name = bool(_NAME.fullmatch(name))
        if not colon or (not is_name and name.strip().lower() in _FRAMING):
            raise Unreadable(f"the head of the answer has a line that is no header: {line!a:.80}")
        if is_name:
            headers.append((name.lower(), value.strip()))
        if len(headers) > HEADERS_LIMIT:
            raise Unreadable(f"the answer has more than {HEADERS_LIMIT} headers")
    return headers


def _length(given: str) -> int | None:
    """The length of the content. One that cannot be understood is refused (RFC 9112, 6.3): its end would be a guess."""
    if not given:
        return None
    lengths = {length.strip() for length in given.split(",")}
    (first, *others) = lengths
    if others or not (first.isascii() and first.isdecimal()) or len(first) > 16:  # noqa: PLR2004 (petabytes)
        raise Unreadable(f"the answer has no readable length: {given!a:.80}")
    return int(first)


# ── Bodies ───────────────────────────────────────────────────────────────────────────────────────────────


def _unpacked(head: _Head, content: bytes) -> bytes:
    coding = head.value("content-encoding").strip().lower()
    if coding in {"", "identity"} or not content:
        return content
    if coding not in _PACKED:
        raise Unreadable(f"the answer is packed in a way that was not asked for: {coding!a:.80}")
    return unpacked(content)


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
