"""The log as a principal sees it. Whatever reads through it shows no more, also a page that is written tomorrow."""

from __future__ import annotations

from saga_es.access.redaction import redacted
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import Log


class RedactedLog(Log):
    """A log without inputs, results, errors and reasons."""

    def _seen(self, entries: list[Entry]) -> list[Entry]:
        return [redacted(entry) for entry in entries]
