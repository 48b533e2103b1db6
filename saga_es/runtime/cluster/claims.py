"""Whose turn it is to take what nobody runs, so that workers who look at the same moment take different sagas.

Each saga has an order of its own in which the living workers may claim it (rendezvous hashing): the first at once, the
others a moment later each, should it still be there. So the load is spread evenly, nobody has to agree on anything, and
the share of a worker that has no capacity, or does not know the definition, goes to the next. The log decides, as ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from hashlib import blake2b

EACH_LATER_S = 0.25
LATEST = 3
"""From this place in the order on, all wait equally long."""


class Claims:
    """What was seen without an owner, and since when. Used by the loop's thread."""

    def __init__(self) -> None:
        self._seen: dict[str, datetime] = {}

    def due(self, saga_ids: Iterable[str], worker_id: str, living: Collection[str], now: datetime) -> list[str]:
        """Those of the sagas that this worker may claim now, in the order given.

        Args:
            saga_ids: All that have no living owner.
            worker_id: This worker.
            living: All that live.
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
