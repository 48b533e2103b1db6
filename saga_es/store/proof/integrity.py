"""Whether the rows of a stream are as they were appended: gapless, in order, each with the right hash.

Pure, so that a copy of a log, an archive or a bundle is checked like the log itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from saga_es.store.log.chain import Head, event_hash, genesis
from saga_es.store.log.entries import Entry


class Broken(msgspec.Struct, frozen=True, tag="stream", tag_field="kind"):
    """A rule that a stream breaks, and where.

    Attributes:
        stream_id: The stream; empty: a file is broken, not a stream.
        version: The version of the event that breaks it.
    """

    stream_id: str
    version: int
    rule: str

    def __str__(self) -> str:
        return f"stream {self.stream_id} at version {self.version}: {self.rule}" if self.stream_id else self.rule


def broken(stream_id: str, entries: Sequence[Entry], archived: Head | None = None) -> Iterator[Broken]:
    """The rules that a stream breaks; none for a stream that is whole.

    Args:
        stream_id: The id of the stream.
        entries: All its rows in the log, in the order of versions.
        archived: Its entry in the archives; then some or all of its rows may be gone.
    """
    before: Entry | None = None
    for entry in entries:
        for rule in _rules(stream_id, before, entry, archived):
            yield Broken(stream_id, entry.version, rule)
        before = entry


def _rules(stream_id: str, before: Entry | None, entry: Entry, archived: Head | None) -> Iterator[str]:
    expected = before.version + 1 if before else 1
    follows = entry.version == expected
    if not follows and archived is None:
        yield _gap(expected, entry.version - 1)
    if archived is not None and entry.version > archived.version:
        yield f"it comes after version {archived.version}, at which the stream was archived"
    if archived is not None and entry.version == archived.version and entry.hash != archived.hash:
        yield "its hash differs from the hash in the archives"
    if before is not None and entry.position <= before.position:
        yield f"its position {entry.position} is not after {before.position}, the position of the version before"
    if before is not None and entry.category != before.category:
        yield f"its category is {entry.category}, that of the version before is {before.category}"
    if follows and entry.hash != _hash(before.hash if before else genesis(stream_id), entry):
        yield "its hash does not fit the event and the hash before it: one of them was changed"


def _gap(first: int, last: int) -> str:
    if last < first:
        return f"version {last + 1} is where version {first} should be"
    return f"version {first} is missing" if first == last else f"versions {first} to {last} are missing"


def _hash(previous: str, entry: Entry) -> str:
    return event_hash(
        previous,
        entry.stream_id,
        entry.category,
        entry.version,
        entry.type,
        entry.schema,
        entry.text,
        entry.recorded_at,
    )
