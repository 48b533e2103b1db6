"""Whose heartbeat stands still: told from what this process sees, because a clock may jump."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from saga_es.store.host_time import monotonic_s

LOOKED_AWAY_S = 5.0
"""After so long without a look (and a lease), this process was itself stopped, and has seen nobody's silence."""


class Silence:
    """Since when each worker's heartbeat has stood still, and whether the database's clock can be trusted.

    Args:
        lease_s: Seconds without a heartbeat after which a worker counts as gone.
        now_s: This process's own clock, which never jumps and stands still while the machine is suspended.
    """

    def __init__(self, lease_s: float, now_s: Callable[[], float] = monotonic_s) -> None:
        self._lease_s = lease_s
        self._now_s = now_s
        self._looked_s: float | None = None
        self._database_s = 0.0
        self._trusted_from_s = 0.0
        self._seen: dict[str, tuple[float, float]] = {}

    def look(self, heartbeats: Mapping[str, float], database_s: float, took_s: float = 0.0) -> None:
        """Take a look at all heartbeats.

        Args:
            heartbeats: The last of each worker, by the database's clock.
            database_s: What the database's clock said at this look.
            took_s: How long the look took.
        """
        now_s = self._now_s()
        if self._looked_s is not None:
            passed_s = now_s - self._looked_s
            jumped_s = abs(database_s - self._database_s - passed_s)
            if jumped_s > self._lease_s / 4 + took_s:  # a smaller jump makes nobody look gone: four beats make a lease
                self._trusted_from_s = now_s + self._lease_s
            if passed_s > max(self._lease_s, LOOKED_AWAY_S):
                self._seen.clear()
        self._looked_s, self._database_s = now_s, database_s
        known = self._seen
        self._seen = {
            worker_id: known[worker_id] if known.get(worker_id, (None,))[0] == beat else (beat, now_s)
            for worker_id, beat in heartbeats.items()
        }

    @property
    def trusts_database(self) -> bool:
        """Whether the database's clock has not jumped for a lease: all who live have sent a heartbeat since."""
        return self._looked_s is not None and self._looked_s >= self._trusted_from_s

    def stands_still(self, worker_id: str) -> bool:
        """Whether the worker's heartbeat has not moved for a lease, while this process looked on."""
        assert self._looked_s is not None, "nobody has looked yet"
        return self._looked_s - self._seen[worker_id][1] > self._lease_s
