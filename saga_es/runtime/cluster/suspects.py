"""Suspects: sagas that had the same call in flight when several workers crashed, and that may be the reason.

If all suspects were taken over at once, each crash would count against all of them, the innocent too. So they are
tried: first one alone, then twice as many at a time while no worker crashes. A suspect that was tried before another
crash is tried alone. A trial ends when the calls are answered, or when this process has survived for a while.

Calls of an earlier trial may still be in flight when a later suspect crashes the worker. So the suspect that was taken
over last is tried first: if it is the reason, the next crash counts against it alone. The others follow by the number
of their crashes, fewest first: a suspect that is one crash from FAILED does not run beside others before their trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

from saga_es.core.state import SagaState
from saga_es.logs import logger

SUSPECT_AFTER = 2
"""How many workers crash with the same call in flight before its saga is suspected."""

TRIAL_S = 10.0
"""How long a trial lasts: if the process survives so long, the calls of the trial do not crash it."""

MOST_AT_ONCE = 512

LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Suspects:
    """The suspects that wait to be tried, and those that are being tried. Used by the loop's thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Suspect] = {}
        self._tried: list[str] = []
        self._at_once = 1
        self._ends: datetime | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, saga_id: object) -> bool:
        return saga_id in self._waiting

    @property
    def ids(self) -> list[str]:
        """The suspects that wait."""
        return list(self._waiting)

    def hold_back(self, states: Iterable[SagaState], moved_at: Mapping[str, datetime]) -> list[SagaState]:
        """Return the sagas that are not suspects. The suspects wait to be tried.

        Args:
            states: Sagas without a living owner.
            moved_at: The time of the last event of each suspect: mostly its last takeover.
        """
        innocent = []
        for state in states:
            if is_suspect(state):
                self._waiting[state.saga_id] = _Suspect(_crashes(state), moved_at.get(state.saga_id, LONG_AGO))
            else:
                innocent.append(state)
        return innocent

    def forget_all_but(self, orphans: Iterable[str]) -> None:
        """Remove the waiting suspects that are no longer orphans: they have a new owner, or have ended."""
        self._waiting = {saga_id: self._waiting[saga_id] for saga_id in orphans if saga_id in self._waiting}

    def next(self, is_suspected_here: Callable[[str], bool], now: datetime) -> list[str]:
        """Start the next trial, and return its suspects; none while a trial goes on.

        Args:
            is_suspected_here: Whether this worker owns a saga that is still a suspect.
            now: The time.
        """
        if self._ends is not None and now < self._ends and any(map(is_suspected_here, self._tried)):
            return []
        if self._tried:  # their calls were answered, or this process has survived them
            self._at_once = min(2 * self._at_once, MOST_AT_ONCE)
        self._tried = self._next_suspects()
        for saga_id in self._tried:
            del self._waiting[saga_id]
        if self._tried:
            self._ends = now + timedelta(seconds=TRIAL_S)
            logger.warning("sagas whose workers crashed repeatedly", tried=len(self._tried), waiting=len(self))
        return self._tried

    def _next_suspects(self) -> list[str]:
        if not self._waiting:
            return []
        latest_first = sorted(self._waiting, key=lambda saga_id: self._waiting[saga_id].moved_at, reverse=True)
        fewest = min(suspect.crashes for suspect in self._waiting.values())
        if self._ends is None and self._waiting[latest_first[0]].crashes > SUSPECT_AFTER:
            return latest_first[:1]
        with_fewest = (saga_id for saga_id in latest_first if self._waiting[saga_id].crashes == fewest)
        return list(islice(with_fewest, self._at_once if fewest == SUSPECT_AFTER else 1))


class _Suspect(NamedTuple):
    crashes: int
    moved_at: datetime


def is_suspect(state: SagaState) -> bool:
    """Whether a call of the saga may have crashed its workers. A paused saga makes no calls, so it is no suspect."""
    return state.paused is None and _crashes(state) >= SUSPECT_AFTER


def _crashes(state: SagaState) -> int:
    return max((step.crashes for step in state.steps.values()), default=0)
