"""Reading streams: what all logs do the same way, wherever their rows are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Self

from msgspec.structs import replace

from saga_es.errors import UnreadableEvent
from saga_es.store.encryption.cipher import BIT, Place
from saga_es.store.encryption.errors import NoKey
from saga_es.store.log.codec import Codec
from saga_es.store.log.entries import Entry, Recorded, StreamSize, Unreadable


class Reader(ABC):
    """Reads streams of rows, and decodes them.

    Args:
        codec: Decodes the events in the log.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    @abstractmethod
    def entries_of(self, stream_ids: Sequence[str]) -> dict[str, list[Entry]]:
        """The rows of several streams, each in order; never decoded."""

    def read(self, stream_id: str) -> list[Recorded]:
        """The events of a stream, in order; empty when it does not exist.

        Raises:
            UnreadableEvent: An event cannot be decoded.
            StoreUnavailable: The database did not answer.
        """
        return [self.decode(entry) for entry in self.entries_of([stream_id])[stream_id]]

    def size_of(self, stream_id: str) -> StreamSize:
        """How large a stream is."""
        entries = self.entries_of([stream_id])[stream_id]
        return StreamSize(len(entries), sum(len(entry.text.encode()) for entry in entries))

    def read_many(self, stream_ids: Sequence[str]) -> dict[str, list[Recorded]]:
        """The events of several streams, each in order; an empty list for a stream that does not exist."""
        streams = self.entries_of(stream_ids)
        return {stream_id: [self.decode(entry) for entry in entries] for stream_id, entries in streams.items()}

    def decode_all(self, entries: Iterable[Entry]) -> list[Recorded | Unreadable]:
        """The entries, each decoded if possible: for readers that continue after an unreadable event."""
        decoded: list[Recorded | Unreadable] = []
        for entry in entries:
            try:
                decoded.append(self.decode(entry))
            except UnreadableEvent as error:
                decoded.append(Unreadable(entry, error.why))
        return decoded

    def opened(self, entry: Entry) -> Entry:
        """The entry as it was before it was encrypted, if its key can be had; else with masks. Its hash stays.

        Raises:
            UnreadableEvent: It was changed, or stands where it does not belong.
            StoreUnavailable: What has the key did not answer.
        """
        if entry.schema < BIT:
            return entry
        place = Place(entry.stream_id, entry.category, entry.version, entry.type, entry.schema)
        return replace(entry, text=self.codec.opened(entry.text, place), schema=entry.schema - BIT)

    def without_keys(self) -> Self:
        """The same log, as those read it who have no key: what a view may hold."""
        other = copy(self)
        other.codec = self.codec.without_keys()
        return other

    def opens(self, key_id: str | None) -> bool:
        """Whether a saga with this key can be read and written here; without a key it can.

        Raises:
            StoreUnavailable: What has the key did not answer.
        """
        return self.lacks(key_id) is None

    def lacks(self, key_id: str | None) -> NoKey | None:
        """Why a saga with this key cannot be read and written here; None if it can.

        Raises:
            StoreUnavailable: What has the key did not answer.
        """
        return None if key_id is None else self.codec.lacks(key_id)

    def decode(self, entry: Entry) -> Recorded:
        """The entry with its event decoded.

        Raises:
            UnreadableEvent: The event cannot be decoded.
        """
        if entry.schema >= BIT:
            entry = self.opened(entry)
        event = self.codec.decode(entry.category, entry.type, entry.text, entry.schema)
        return Recorded(entry.stream_id, entry.category, entry.version, event, entry.recorded_at)
