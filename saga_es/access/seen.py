"""The log as a principal sees it. Whatever reads through it shows no more, also a page that is written tomorrow."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from saga_es.access.redaction import redacted
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import MOST_BYTES, Log


class RedactedLog(Log):
    """A log without inputs, results, errors and reasons."""

    def entries_of(self, stream_ids: Sequence[str], connection: Connection | None = None) -> dict[str, list[Entry]]:
        """See `Log.entries_of`."""
        streams = super().entries_of(stream_ids, connection)
        return {stream_id: [redacted(entry) for entry in entries] for stream_id, entries in streams.items()}

    def entries(
        self,
        stream_id: str | None = None,
        after_position: int = 0,
        limit: int | None = None,
        *,
        until_position: int | None = None,
    ) -> list[Entry]:
        """See `Log.entries`."""
        found = super().entries(stream_id, after_position, limit, until_position=until_position)
        return [redacted(entry) for entry in found]

    def after(self, connection: Connection, position: int, limit: int, most_bytes: int = MOST_BYTES) -> list[Entry]:
        """See `Log.after`."""
        return [redacted(entry) for entry in super().after(connection, position, limit, most_bytes)]
