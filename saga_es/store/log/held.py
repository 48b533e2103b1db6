"""A log in memory that holds a few streams: those of a file, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from saga_es.store.log.codec import Codec
from saga_es.store.log.entries import Entry
from saga_es.store.log.reader import Reader


class HeldLog(Reader):
    """Reads streams that were read from somewhere else."""

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec)
        self._kept: dict[str, list[Entry]] = {}
        self._last: dict[str, list[Entry]] = {}

    def hold(self, entries: list[Entry], *, keeps: bool) -> None:
        """Hold a stream: for good, or until the next one comes."""
        held = {entries[0].stream_id: entries}
        if keeps:
            self._kept |= held
        else:
            self._last = held

    def archive_of(self, stream_id: str) -> str | None:
        """None: what is not held is not known."""
        del stream_id
        return None

    def entries_of(self, stream_ids: Sequence[str]) -> dict[str, list[Entry]]:
        """The rows of several streams, each in order."""
        return {id_: self._last.get(id_) or self._kept.get(id_, []) for id_ in stream_ids}

    def versions_of(self, stream_ids: Sequence[str]) -> dict[str, int]:
        """The number of events of each of these streams that exists."""
        return {id_: len(entries) for id_, entries in self.entries_of(stream_ids).items() if entries}
