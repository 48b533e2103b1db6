"""The effort of a run: how long and how often it measures."""

from __future__ import annotations

import msgspec


class Effort(msgspec.Struct, frozen=True):
    """How long and how often a run measures.

    Attributes:
        rounds: How often engine and peer are measured in turn.
        seconds: How long one measurement takes.
        idle_s: How long an idle server is watched, in seconds.
        sagas: The sagas in the big log.
        waiting: The sagas that wait for a signal.
        interrupted: The sagas that are interrupted.
        replayed: The events that are replayed.
        requests: The sagas whose HTTP calls are under way at once.
    """

    rounds: int = 5
    seconds: float = 4.0
    idle_s: float = 60.0
    sagas: int = 1_000_000
    waiting: int = 100_000
    interrupted: int = 10_000
    replayed: int = 1_000_000
    requests: int = 5_000


QUICK = Effort(
    rounds=3,
    seconds=0.8,
    idle_s=5.0,
    sagas=100_000,
    waiting=20_000,
    interrupted=3_000,
    replayed=100_000,
    requests=1_000,
)
