"""Suspects: sagas whose call was out each time that one worker after the other went, and may be why they went.

Taken over all at once they would be counted out together, the innocent with the one that kills. So they are tried: one
alone at first, then twice as many at a time for as long as nobody dies; whoever was tried and went again is tried
alone. A trial is over when its calls were answered, or when this process has lived through it for a while.

Calls of those that were tried before may still be out when another one kills. So what was taken over last of all is
tried first: if it was that one, it is counted out with nobody beside it. The rest come in the order of the crashes held
against them, fewest first: whoever has but one left is not exposed to those that have more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

import structlog

from saga_es.core.state import SagaState

logger = structlog.get_logger("saga_es")

SUSPECT_AFTER = 2
"""Workers that go while one and the same call is out, before its saga is taken for the reason."""

TRIAL_S = 10.0
"""A process that lives so long is not killed by the calls it made when it began."""

MOST_AT_ONCE = 512

LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Suspects:
    """The suspects that wait for their turn, and those whose turn it is. Used by the loop's thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Suspect] = {}
        self._tried: list[str] = []
        self._at_once = 1
        self._ends: datetime | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, saga_id: object) -> bool:
        return saga_id in self._waiting

    def hold_back(self, states: Iterable[SagaState], moved_at: Mapping[str, datetime]) -> list[SagaState]:
        """Those that are not suspected; the others wait for their turn.

        Args:
            states: Sagas without a living owner.
            moved_at: When each of them moved last: of suspects, mostly when they were taken over.
        """
        innocent = []
        for state in states:
            if is_suspect(state):
                self._waiting[state.saga_id] = _Suspect(_crashes(state), moved_at.get(state.saga_id, LONG_AGO))
            else:
                innocent.append(state)
        return innocent

    def forget_all_but(self, orphans: Iterable[str]) -> None:
        """Suspects that somebody else took over, or that ended, wait no more."""
        self._waiting = {saga_id: self._waiting[saga_id] for saga_id in orphans if saga_id in self._waiting}

    def next(self, is_suspected_here: Callable[[str], bool], now: datetime) -> list[str]:
        """The suspects whose turn it is now; none while others are being tried.

        Args:
            is_suspected_here: Whether a saga runs here, and is a suspect still.
            now: The time.
        """
        if self._ends is not None and now < self._ends and any(map(is_suspected_here, self._tried)):
            return []
        if self._tried:  # they were answered, or have not killed us
            self._at_once = min(2 * self._at_once, MOST_AT_ONCE)
        self._tried = self._next_suspects()
        for saga_id in self._tried:
            del self._waiting[saga_id]
        if self._tried:
            self._ends = now + timedelta(seconds=TRIAL_S)
            logger.warning("sagas whose workers went again and again", tried=len(self._tried), waiting=len(self))
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
    """Whether a call of the saga may be why its workers went; none is made while it is paused."""
    return state.paused is None and _crashes(state) >= SUSPECT_AFTER


def _crashes(state: SagaState) -> int:
    return max((step.crashes for step in state.steps.values()), default=0)
