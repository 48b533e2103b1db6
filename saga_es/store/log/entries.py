"""The values of the log: what is appended to a stream, and what is read from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from saga_es.errors import BadStreamId, NothingToAppend
from saga_es.store.encryption.fields import masked
from saga_es.store.log.chain import covered_by, covers_of
from saga_es.store.log.codec import Codec

STREAM_ID_LIMIT = 64


class Recorded(msgspec.Struct, frozen=True):
    """An event with its place in its stream."""

    stream_id: str
    category: str
    version: int
    event: Any
    recorded_at: datetime


class Entry(msgspec.Struct, frozen=True):
    """A row of the log, unchanged: `text` is the JSON exactly as written."""

    position: int
    stream_id: str
    category: str
    version: int
    type: str
    text: str
    recorded_at: datetime
    schema: int
    hash: str


class StreamSize(NamedTuple):
    """How large a stream is: its events, and the bytes of their JSON."""

    events: int
    bytes: int


class Unreadable(msgspec.Struct, frozen=True):
    """An entry that this version cannot decode, and why."""

    entry: Entry
    why: str


class Draft(msgspec.Struct, frozen=True):
    """Events to be appended to one stream, all or none.

    The time is taken once, when the draft is made. A draft that is written again after a lost answer is the same draft,
    and its rows differ from everybody else's.

    Attributes:
        notifies: Whether the owner of the stream's saga is notified: its owner does not append this draft.
        trace_id: The trace of the stream's saga, for those who watch the writer; it is not written.
        key: The id of the key under which what is secret is encrypted; None: nothing is.
    """

    stream_id: str
    category: str
    expected_version: int
    events: tuple[Any, ...]
    recorded_at: datetime
    notifies: bool = False
    trace_id: str | None = None
    key: str | None = None

    def recorded(self) -> list[Recorded]:
        """The events as they are in the stream after the append; what is encrypted there is masked."""
        events = self.events if self.key is None else tuple(map(masked, self.events))
        return [
            Recorded(self.stream_id, self.category, version, event, self.recorded_at)
            for version, event in enumerate(events, self.expected_version + 1)
        ]


class Prepared(msgspec.Struct, frozen=True):
    """A draft with its rows, as a writer takes it; the rows lack their hashes.

    Attributes:
        covers: What the hash of each row covers after the hash before it.
        size: The bytes of its events, before what is secret is encrypted.
    """

    draft: Draft
    rows: list[dict[str, Any]]
    covers: list[bytes]
    size: int


def prepare(draft: Draft, codec: Codec) -> Prepared:
    """The draft with its rows.

    Raises:
        BadStreamId: The log does not accept this id.
        NothingToAppend: The draft has no events.
        PayloadTooLarge: An event is larger than the limit.
        PayloadUnencodable: An event has no JSON form.
        NoKey: The key of the draft cannot be had.
        StoreUnavailable: What has the key did not answer.
    """
    check_stream_id(draft.stream_id)
    if not draft.events:
        raise NothingToAppend(draft.stream_id)
    stream_id, category, recorded_at = draft.stream_id, draft.category, draft.recorded_at
    schema, first = codec.schemas[category], draft.expected_version + 1
    texts, sizes = codec.encode_all(draft.events)
    rows: list[dict[str, Any]] = [
        {
            "stream_id": stream_id,
            "category": category,
            "version": version,
            "type": type(event).__name__,
            "data": text.decode(),
            "recorded_at": recorded_at,
            "schema": schema,
        }
        for version, (event, text) in enumerate(zip(draft.events, texts, strict=True), first)
    ]
    if draft.key is None:
        covers = covers_of(rows, texts, sizes)
    else:
        codec.encrypt(rows, draft.events, draft.key)
        covers = [covered_by(row) for row in rows]
    return Prepared(draft, rows, covers, sum(sizes))


def check_is_text(stream_id: object) -> None:
    """Check that an id is a text, before it reaches a thread that cannot tell its caller.

    Raises:
        TypeError: It is something else, such as a UUID.
    """
    if not isinstance(stream_id, str):
        what = f"{stream_id!a:.80} of type {type(stream_id).__name__}"
        raise TypeError(f"an id is a text, not {what}; write str(...)")


@lru_cache(4096)  # each append to a stream comes here
def check_stream_id(stream_id: str) -> None:
    """Check that the log accepts this id; the rule is the same on every database.

    Raises:
        BadStreamId: It does not accept the id.
    """
    try:
        stream_id.encode()
    except UnicodeEncodeError:
        raise BadStreamId(stream_id, STREAM_ID_LIMIT) from None
    if not 0 < len(stream_id) <= STREAM_ID_LIMIT or "\0" in stream_id:
        raise BadStreamId(stream_id, STREAM_ID_LIMIT)


def is_possible(stream_id: str) -> bool:
    """Whether the log accepts this id."""
    try:
        check_stream_id(stream_id)
    except BadStreamId:
        return False
    return True


def by_stream(events: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    """Events grouped by stream, each group in its order."""
    streams: dict[str, list[Recorded]] = defaultdict(list)
    for event in events:
        streams[event.stream_id].append(event)
    return streams
