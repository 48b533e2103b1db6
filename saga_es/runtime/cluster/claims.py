"""Claims: which worker may take over which saga first, so that workers that look at the same time take different ones.

For each saga, the living workers are ranked (rendezvous hashing). The first may claim it at once, each further one a
moment later if the saga is still there. So the load is spread evenly without any agreement between workers. If a worker
has no capacity or does not know the definition, the next one takes its share. The log decides who owns the saga.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from hashlib import blake2b

EACH_LATER_S = 0.25
LATEST = 3
"""From this rank on, all workers wait equally long."""


class Claims:
    """The sagas that were seen without a living owner, and since when. Used by the loop's thread."""

    def __init__(self) -> None:
        self._seen: dict[str, datetime] = {}

    def due(self, saga_ids: Iterable[str], worker_id: str, living: Collection[str], now: datetime) -> list[str]:
        """The sagas that this worker may claim now, in the order given.

        Args:
            saga_ids: All sagas without a living owner.
            worker_id: This worker.
            living: All living workers.
            now: The time.
        """
        self._seen = {saga_id: self._seen.get(saga_id, now) for saga_id in saga_ids}
        others = [other for other in living if other != worker_id]
        return [id_ for id_, seen in self._seen.items() if seen + _wait(id_, worker_id, others) <= now]


def _wait(saga_id: str, worker_id: str, others: Collection[str]) -> timedelta:
    own = _score(saga_id, worker_id)
    ahead = sum(_score(saga_id, other) > own for other in others)
    return timedelta(seconds=EACH_LATER_S * min(ahead, LATEST))


def _score(saga_id: str, worker_id: str) -> bytes:
    return blake2b(f"{worker_id} {saga_id}".encode(), digest_size=8).digest()
