"""The hash chain of a stream: each event's hash covers the event and the hash before it, and so the whole past.

The format never changes, and docs/the-log.md describes it for others: SHA-256 over netstrings (length in bytes, colon,
bytes, comma), so that no bytes can be read in two ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from saga_es.errors import VersionConflict


class Head(msgspec.Struct, frozen=True):
    """The end of a stream: its last version, and the hash of that event."""

    version: int
    hash: str


_NOWHERE = Head(-1, "")


def genesis(stream_id: str) -> str:
    """The hash that stands before the first event of a stream."""
    return sha256(b"14:saga_es stream," + _netstring(stream_id)).hexdigest()


def event_hash(
    previous: str,
    stream_id: str,
    category: str,
    version: int,
    type_: str,
    schema: int,
    text: str,
    recorded_at: datetime,
) -> str:
    """The hash of an event: SHA-256 in lower-case hexadecimal digits.

    Args:
        previous: The hash of the event before it in its stream, or the stream's genesis.
        stream_id: The id of its stream.
        category: The category of its stream.
        version: Its version in the stream, from 1.
        type_: Its type, as stored.
        schema: The version of its schema.
        text: Its JSON, exactly as stored.
        recorded_at: Aware.
    """
    data = text.encode()
    return sha256(
        b"%d:%b,%b%b%d:%b,%b"
        % (
            len(previous),
            previous.encode(),
            _stream(stream_id, category),
            _place(version, type_, schema),
            len(data),
            data,
            _stamp(recorded_at),
        )
    ).hexdigest()


def covers_of(rows: Sequence[dict[str, Any]], texts: Sequence[bytes], sizes: Sequence[int]) -> list[bytes]:
    """What the hash of each row covers after the hash before it: as `event_hash` has it.

    Args:
        rows: Rows of one append to one stream.
        texts: Their JSON.
        sizes: The bytes of each of these.
    """
    stream, stamp = _stream(rows[0]["stream_id"], rows[0]["category"]), _stamp(rows[0]["recorded_at"])
    return [
        b"%b%b%d:%b,%b" % (stream, _place(row["version"], row["type"], row["schema"]), size, text, stamp)
        for row, text, size in zip(rows, texts, sizes, strict=True)
    ]


def covered_by(row: dict[str, Any]) -> bytes:
    """What the hash of a row covers after the hash before it."""
    text = row["data"].encode()
    return covers_of([row], [text], [len(text)])[0]


def chain(
    rows: Sequence[dict[str, Any]], heads: dict[str, Head], covers: Sequence[bytes] | None = None
) -> dict[str, Head]:
    """Give each row of the log its hash.

    Args:
        rows: Rows of any number of streams, each stream's in the order of versions; each row receives its `hash`.
        heads: The heads of the streams that continue; streams that begin here are left out.
        covers: What the hash of each row covers after the hash before it, if that is known.

    Returns:
        The heads of the streams after the rows.

    Raises:
        VersionConflict: A row does not follow its stream's head.
    """
    at = dict(heads)
    if covers is None:
        covers = [covered_by(row) for row in rows]
    for row, rest in zip(rows, covers, strict=True):
        stream_id, version = row["stream_id"], row["version"]
        head = at[stream_id] if stream_id in at else _NOWHERE  # noqa: SIM401 (all events of all appends come here)
        reached, previous = head.version, head.hash
        if version == 1:
            previous = genesis(stream_id)
        elif reached != version - 1:
            raise VersionConflict(stream_id, version - 1)
        # As `event_hash` has it. A hash is as long as any other.
        row["hash"] = hash_ = sha256(b"64:%b,%b" % (previous.encode(), rest)).hexdigest()
        at[stream_id] = Head(version, hash_)
    return at


def _netstring(text: str) -> bytes:
    encoded = text.encode()
    return b"%d:%b," % (len(encoded), encoded)


# Values that recur are encoded once: every append runs this code.


@lru_cache(4096)
def _stream(stream_id: str, category: str) -> bytes:
    return _netstring(stream_id) + _netstring(category)


@lru_cache(4096)
def _place(version: int, type_: str, schema: int) -> bytes:
    return _netstring(str(version)) + _netstring(type_) + _netstring(str(schema))


@lru_cache(1024)
def _stamp(recorded_at: datetime) -> bytes:
    # A plain microsecond clock in UTC, always with six digits: `2024-02-29T23:59:58.123457Z`.
    in_utc = recorded_at if recorded_at.tzinfo is UTC else recorded_at.astimezone(UTC)
    return b"27:%b," % f"{in_utc.isoformat(timespec='microseconds')[:26]}Z".encode()
