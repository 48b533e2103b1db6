"""Where streams stand, remembered between appends: so that an append need not ask for the hash before it.

An event never changes, so what is known of a version cannot be wrong; it can only be of too early a version, and
then it is of no use and the database is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from saga_es.store.log.chain import Head

MOST_HEADS = 16_384
"""About 6 MB; a stream that is not among them costs its next batch one query."""


class Heads:
    """The heads of the streams that were appended to last; safe to use from many threads.

    Args:
        most: How many to keep.
    """

    def __init__(self, most: int = MOST_HEADS) -> None:
        self._most = most
        self._heads: dict[str, Head] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._heads)

    def get(self, stream_id: str) -> Head | None:
        """The head of a stream at some version; None when it is not known."""
        return self._heads.get(stream_id)

    def clear(self) -> None:
        """Forget all: the database was away, and what comes back may be a copy that lacks the last commits."""
        with self._lock:
            self._heads.clear()

    def learn(self, heads: Mapping[str, Head], over: Iterable[str] = ()) -> None:
        """Keep heads that are committed, and forget those of streams to which hardly anybody will append again."""
        with self._lock:
            for stream_id, head in heads.items():
                self._heads.pop(stream_id, None)  # those that are used go to the end, and stay longest
                self._heads[stream_id] = head
            for stream_id in over:
                self._heads.pop(stream_id, None)
            while len(self._heads) > self._most:
                del self._heads[next(iter(self._heads))]
