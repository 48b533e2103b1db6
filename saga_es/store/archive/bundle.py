"""Bundles: whole streams in a file, with their hashes. An archive is a bundle, and `saga-es export` prints one.

A bundle is lines of JSON, compressed with gzip or not. The first line is a header,
`{"saga_es": "bundle", "format": 1, …}`. Then comes a line for each event: the streams one after another, each from its
first event to its last, `data` being the exact text in the log. The last line counts them; without it the file is not
whole. A reader trusts nothing and checks every hash. docs/retention.md describes the format for others.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from saga_es.errors import BadBundle, BadStreamId
from saga_es.store.log.chain import Head, event_hash, genesis
from saga_es.store.log.entries import Entry, check_stream_id

FORMAT = 1
GZIP = b"\x1f\x8b"
LONGEST_LINE = 8 * 1_048_576
"""Bytes in a line; the largest payload that a setting allows is half of it."""

LARGEST_STREAM = 256 * 1_048_576
"""Bytes of one stream, which is in memory as a whole."""

_LONGEST_NAME = 64
_LARGEST_VERSION = 2**31 - 1
_LARGEST_POSITION = 2**63 - 1


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    saga_es: str
    format: int
    made_at: datetime


class Line(msgspec.Struct, frozen=True):
    """An event as it is in the log, with its position there."""

    stream_id: str
    category: str
    version: int
    type: str
    schema: int
    recorded_at: datetime
    position: int
    hash: str
    data: msgspec.Raw


class Trailer(msgspec.Struct, frozen=True):
    """The last line: the counts of what is before it, and the SHA-256 of all those bytes."""

    streams: int
    events: int
    sha256: str


class Counted(NamedTuple):
    """The counts of a bundle."""

    streams: int
    events: int


_ENCODE = msgspec.json.Encoder().encode
_HEADER = msgspec.json.Decoder(Header)
_LINE = msgspec.json.Decoder(Line)
_TRAILER = msgspec.json.Decoder(Trailer)
_START_OF_TRAILER = b'{"streams":'


class Writing:
    """A bundle that is being written.

    Args:
        file: Where its lines are written.
        made_at: The present time.
    """

    def __init__(self, file: IO[bytes], made_at: datetime) -> None:
        self._file = file
        self.streams = 0
        self.events = 0
        self._sum = sha256()
        self._say(Header("bundle", FORMAT, made_at))

    def add(self, entries: Iterable[Entry]) -> None:
        """Add one stream, from its first event to its last."""
        self.streams += 1
        for entry in entries:
            self.events += 1
            self._say(_line(entry))

    def end(self) -> None:
        """Write the last line; without it the bundle is not whole."""
        self._say(Trailer(self.streams, self.events, self._sum.hexdigest()))

    def _say(self, what: msgspec.Struct) -> None:
        text = _ENCODE(what) + b"\n"
        self._sum.update(text)
        self._file.write(text)


def _line(entry: Entry) -> Line:
    return Line(
        stream_id=entry.stream_id,
        category=entry.category,
        version=entry.version,
        type=entry.type,
        schema=entry.schema,
        recorded_at=entry.recorded_at,
        position=entry.position,
        hash=entry.hash,
        data=msgspec.Raw(entry.text.encode()),
    )


def streams_in(path: Path) -> Iterator[list[Entry]]:
    """The streams of a bundle, each whole and with every hash checked; one at a time in memory.

    Raises:
        BadBundle: It is no bundle, or not whole, or was changed; streams that were yielded before are sound.
    """
    try:
        with _open(path) as file:
            yield from _checked(path, file)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadBundle(str(path), f"it cannot be read: {error}") from error


def counted(path: Path) -> Counted:
    """How many streams and events a bundle has; all of it is read and checked.

    Raises:
        BadBundle: It is no bundle, or not whole, or was changed.
    """
    streams = events = 0
    for entries in streams_in(path):
        streams, events = streams + 1, events + len(entries)
    return Counted(streams, events)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_compressed = file.read(2) == GZIP
    return gzip.open(path, "rb") if is_compressed else path.open("rb")  # type: ignore[return-value]  # both give bytes


def _checked(path: Path, file: IO[bytes]) -> Iterator[list[Entry]]:
    first = file.readline(LONGEST_LINE)
    _check_header(path, first)
    sum_ = sha256(first)
    streams = events = 0
    entries: list[Entry] = []
    head: Head | None = None
    size = 0
    seen: set[bytes] = set()
    for number, text in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 2):
        if text.startswith(_START_OF_TRAILER):
            if entries:
                yield entries
            _check_end(path, text, file, Trailer(streams, events, sum_.hexdigest()))
            return
        sum_.update(text)
        entry = _entry(path, number, text)
        if entry.version == 1:
            if entries:
                yield entries
            _is_first(path, number, entry.stream_id, seen)
            entries, head, streams, size = [], Head(0, genesis(entry.stream_id)), streams + 1, 0
        size += len(text)
        if size > LARGEST_STREAM:
            raise BadBundle(
                str(path), f"line {number}: {_shown(entry.stream_id)} is larger than {LARGEST_STREAM} bytes"
            )
        head = _follows(path, number, entry, entries, head)
        entries.append(entry)
        events += 1
    raise BadBundle(str(path), f"it ends after {events} events without its last line; it is not whole")


def _is_first(path: Path, number: int, stream_id: str, seen: set[bytes]) -> None:
    """Check that a stream comes once; a digest of each id is kept, whatever its length."""
    digest = sha256(stream_id.encode()).digest()[:16]
    if digest in seen:
        raise BadBundle(str(path), f"line {number}: the stream {_shown(stream_id)} comes twice")
    seen.add(digest)


def _check_header(path: Path, text: bytes) -> None:
    try:
        header = _HEADER.decode(text)
    except msgspec.DecodeError as error:
        raise BadBundle(str(path), f"its first line is not a bundle's: {error}") from error
    if header.saga_es != "bundle" or header.format != FORMAT:
        raise BadBundle(str(path), f"it is a {header.saga_es!r} of format {header.format}; this version reads {FORMAT}")


def _check_end(path: Path, text: bytes, file: IO[bytes], counted: Trailer) -> None:
    try:
        said = _TRAILER.decode(text)
    except msgspec.DecodeError as error:
        raise BadBundle(str(path), f"its last line cannot be read: {error}") from error
    if said != counted:
        raise BadBundle(
            str(path),
            f"its last line says {said.events} events, it has {counted.events}; or the last line was changed",
        )
    if text != _ENCODE(counted) + b"\n":
        raise BadBundle(str(path), "its last line is not as it was written")
    if file.read(1):
        raise BadBundle(str(path), "there is more after its last line")


def _entry(path: Path, number: int, text: bytes) -> Entry:
    try:
        line = _LINE.decode(text)
        data = bytes(line.data).decode()
        _check_names(line)
        msgspec.json.decode(line.data)
    except (msgspec.DecodeError, UnicodeError, BadStreamId, ValueError) as error:
        raise BadBundle(str(path), f"line {number} is no event: {error}") from error
    except RecursionError as error:
        raise BadBundle(str(path), f"line {number} is no event: its data is nested too deeply") from error
    if line.recorded_at.tzinfo is None:
        raise BadBundle(str(path), f"line {number} has a time without a zone")
    given: dict[str, Any] = {name: getattr(line, name) for name in Entry.__struct_fields__ if name != "text"}
    return Entry(**given, text=data)


def _check_names(line: Line) -> None:
    """Check what the log itself would refuse: names, numbers and times that no column takes."""
    check_stream_id(line.stream_id)
    for what, name in (("category", line.category), ("type", line.type)):
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise ValueError(f"its {what} {_shown(name)} must be 1 to {_LONGEST_NAME} printable characters")
    if not 0 < line.version <= _LARGEST_VERSION or not 0 < line.position <= _LARGEST_POSITION:
        raise ValueError(f"its version {line.version} or its position {line.position} is out of range")
    if not 0 < line.schema < 2**15:
        raise ValueError(f"its schema {line.schema} is out of range")
    if not 1970 <= line.recorded_at.year < 9999:  # noqa: PLR2004 (years)
        raise ValueError(f"its time {line.recorded_at.isoformat()} is out of range")


def _shown(name: str) -> str:
    """The beginning of a name that a stranger chose."""
    return ascii(name[:_LONGEST_NAME])


def _follows(path: Path, number: int, entry: Entry, before: list[Entry], head: Head | None) -> Head:
    """The head of the stream after this entry; the entry must be the next of its stream and have the right hash."""
    if head is None or entry.version != head.version + 1 or (before and entry.stream_id != before[0].stream_id):
        raise BadBundle(
            str(path), f"line {number}, {entry.stream_id}@{entry.version}, does not follow the event before"
        )
    right = event_hash(
        head.hash,
        entry.stream_id,
        entry.category,
        entry.version,
        entry.type,
        entry.schema,
        entry.text,
        entry.recorded_at,
    )
    if right != entry.hash:
        raise BadBundle(str(path), f"line {number}, {entry.stream_id}@{entry.version}, was changed: its hash differs")
    return Head(entry.version, right)
