"""Wanted sagas: orphans that somebody sends something to, or waits for. They are taken over before all others."""

from __future__ import annotations

from collections.abc import Collection, Iterable

WANTED_AT_ONCE = 100
"""The most that are looked for at once; the next look takes the next ones."""

MOST_WANTED = 10_000
"""More are not remembered: they are taken over in their turn."""


class Wanted:
    """The ids of wanted sagas, the first that was wanted first. Used by the loop's thread."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._awaited: set[str] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, saga_ids: Iterable[str]) -> None:
        """Look for these sagas: each was sent something."""
        for saga_id in saga_ids:
            if len(self._ids) < MOST_WANTED:
                self._ids[saga_id] = None

    def add_awaited(self, saga_ids: Iterable[str]) -> None:
        """Look for these sagas, once each: somebody waits for their end, and goes on waiting."""
        new = [saga_id for saga_id in saga_ids if saga_id not in self._awaited]
        if len(self._awaited) > MOST_WANTED:
            self._awaited.clear()
        self._awaited.update(new)
        self.add(new)

    def next(self) -> list[str]:
        """The next ids; each stays wanted until `keep` leaves it out."""
        return list(self._ids)[:WANTED_AT_ONCE]

    def keep(self, looked_for: Iterable[str], still_wanted: Collection[str]) -> None:
        """Of the sagas that were looked for, those that are still wanted go behind the others; the rest is done."""
        for saga_id in looked_for:
            self._ids.pop(saga_id, None)
            if saga_id in still_wanted:
                self._ids[saga_id] = None
