"""The log as a principal sees it. Whatever reads through it shows no more, also a page that is written tomorrow."""

from __future__ import annotations

from collections.abc import Mapping

from saga_es.access.redaction import redacted
from saga_es.core.access import Scope
from saga_es.core.events import SagaStarted
from saga_es.store.database import Database
from saga_es.store.log.codec import PLAN, SAGA, Codec
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import Log


class SeenLog(Log):
    """A log with the sagas of a scope; the others are not there, as if nobody had ever started them.

    Args:
        scope: The sagas.
        shows_payloads: Whether inputs, results, errors and reasons are shown.
    """

    def __init__(self, database: Database, codec: Codec, scope: Scope, *, shows_payloads: bool) -> None:
        super().__init__(database, codec)
        self._whole = Log(database, codec)
        self._scope = scope
        self._sees_all_else = scope == Scope()
        self._shows_payloads = shows_payloads

    def archive_of(self, stream_id: str) -> str | None:
        """See `Log.archive_of`; nobody knows any more who started an archived saga."""
        return super().archive_of(stream_id) if self._sees_all_else else None

    def _seen(self, entries: list[Entry]) -> list[Entry]:
        starts = self._starts(entries)
        seen = [entry for entry in entries if self._is_seen(entry, starts)]
        return seen if self._shows_payloads else [redacted(entry) for entry in seen]

    def _is_seen(self, entry: Entry, starts: Mapping[str, bool]) -> bool:
        if entry.category == SAGA:
            return starts[entry.stream_id]
        return entry.category == PLAN or self._sees_all_else

    def _starts(self, entries: list[Entry]) -> dict[str, bool]:
        """Whether each of these sagas is in the scope, as its first event says."""
        first = {entry.stream_id: entry for entry in entries if entry.category == SAGA and entry.version == 1}
        others = {entry.stream_id for entry in entries if entry.category == SAGA} - first.keys()
        found = [entry for stream_id in others for entry in self._whole.part(stream_id, 0, 1, 1)]
        return {entry.stream_id: self._has(entry) for entry in (*first.values(), *found)}

    def _has(self, first: Entry) -> bool:
        event = self.decode(first).event
        return isinstance(event, SagaStarted) and self._scope.has(event.saga, event.by)
