"""The hash chain of a stream: each event's hash covers the event and the hash before it, and so the whole past.

The form is fixed for ever, and written down for others in docs/the-log.md: SHA-256 over netstrings (length in bytes,
colon, bytes, comma), which leave no two readings of the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from saga_es.errors import VersionConflict


class Head(msgspec.Struct, frozen=True):
    """How far a stream has come: its last version, and the hash of that event."""

    version: int
    hash: str


_NOWHERE = (-1, "")


def genesis(stream_id: str) -> str:
    """What stands for a predecessor's hash before the first event of a stream."""
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
        stream_id: Which stream.
        category: Of what.
        version: Its place in the stream, from 1.
        type_: Its type, as stored.
        schema: The version of its schema.
        text: Its JSON, the very text that is stored.
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


def chain(rows: Iterable[dict[str, Any]], heads: dict[str, Head]) -> dict[str, Head]:
    """Give each row of the log its hash.

    Args:
        rows: Rows of any number of streams, those of each in the order of versions; they are changed.
        heads: Where each stream stands that is gone on with; those that begin here are left out.

    Returns:
        Where each of the streams stands after the rows.

    Raises:
        VersionConflict: A row does not follow its stream's head.
    """
    at = {stream_id: (head.version, head.hash) for stream_id, head in heads.items()}
    for row in rows:
        stream_id, version = row["stream_id"], row["version"]
        reached, previous = at.get(stream_id, _NOWHERE)
        if version == 1:
            previous = genesis(stream_id)
        elif reached != version - 1:
            raise VersionConflict(stream_id, version - 1)
        row["hash"] = hash_ = event_hash(
            previous,
            stream_id,
            row["category"],
            version,
            row["type"],
            row["schema"],
            row["data"],
            row["recorded_at"],
        )
        at[stream_id] = version, hash_
    return {stream_id: Head(*reached) for stream_id, reached in at.items()}


def _netstring(text: str) -> bytes:
    encoded = text.encode()
    return b"%d:%b," % (len(encoded), encoded)


# What comes again and again is laid out once: this is the path of every append.


@lru_cache(4096)
def _stream(stream_id: str, category: str) -> bytes:
    return _netstring(stream_id) + _netstring(category)


@lru_cache(4096)
def _place(version: int, type_: str, schema: int) -> bytes:
    return _netstring(str(version)) + _netstring(type_) + _netstring(str(schema))


@lru_cache(1024)
def _stamp(recorded_at: datetime) -> bytes:
    # A plain microsecond clock in UTC, always with six digits: `2024-02-29T23:59:58.123457Z`.
    return _netstring(recorded_at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z")
