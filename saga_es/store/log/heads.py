"""The heads of streams, remembered between appends, so that an append need not query the previous hash.

An event never changes, so a remembered head cannot be wrong. It can only be too old; then it is useless, and the
database is queried.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from saga_es.store.log.chain import Head

MOST_HEADS = 16_384
"""About 6 MB; a stream that is not remembered costs its next batch one query."""


class Heads:
    """The heads of the latest streams that were appended to; safe to use from many threads.

    Args:
        most: How many heads to keep.
    """

    def __init__(self, most: int = MOST_HEADS) -> None:
        self._most = most
        self._heads: dict[str, Head] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._heads)

    def get(self, stream_id: str) -> Head | None:
        """The head of a stream, perhaps an old one; None when it is unknown."""
        return self._heads.get(stream_id)

    def at(self, versions: Mapping[str, int]) -> dict[str, Head]:
        """The heads of those of these streams whose known head is of this version."""
        heads: dict[str, Head] = {}
        known = self._heads
        for stream_id, version in versions.items():
            head = known[stream_id] if version and stream_id in known else None
            if head is not None and head.version == version:
                heads[stream_id] = head
        return heads

    def clear(self) -> None:
        """Forget all heads: the database was away, and may return as a copy that lacks the last commits."""
        with self._lock:
            self._heads.clear()

    def learn(self, heads: Mapping[str, Head], over: Iterable[str] = ()) -> None:
        """Keep committed heads, and forget the heads of streams in `over`, to which few will append again."""
        with self._lock:
            for stream_id, head in heads.items():
                if stream_id in self._heads:
                    del self._heads[stream_id]  # used heads go to the end, and stay longest
                self._heads[stream_id] = head
            for stream_id in over:
                if stream_id in self._heads:
                    del self._heads[stream_id]
            while len(self._heads) > self._most:
                del self._heads[next(iter(self._heads))]
