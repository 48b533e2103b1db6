"""Participants that are away: calls to them are held back, and one tries now and then until an answer comes.

Without this, each saga finds out for itself: an outage of a minute costs every saga all its attempts, and two events
for each. Here an outage costs a few attempts in all, whoever makes them. It is known to this worker alone, and
forgotten when the worker ends: the next one learns anew.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from saga_es.core.outcomes import Direction
from saga_es.logs import logger
from saga_es.runtime.calls.port import Lane
from saga_es.runtime.waiting.backoff import Backoff

T = TypeVar("T")

Key = tuple[str, str, Direction]
"""A saga, its step, and the direction of the call."""

AWAY_AFTER = 5
"""How many calls of different steps or sagas fail in a row, with no answer between them, until a lane is away."""

FIRST_TRY_S = 0.5
LONGEST_TRY_S = 30.0
"""The longest wait between two tries. The waits double, so an outage is noticed to be over within twice its length."""

LONGEST_HOLD_S = 300.0
"""How long a call is held back at most. Then it tries for itself, so that a participant that never comes back cannot
keep a saga from its end."""

MOST_OVERDUE = 200
"""How many calls that were held for so long try at once; the next of them follow after `FIRST_TRY_S`."""

LET_THROUGH = 2
"""How many held calls each answer lets through: they double with each round, so a participant that has just come back
is not met by all at once."""


MOST_HELD = 1000
"""How many calls and retries of a definition are held back in memory until new sagas of it stay in the log instead."""


class Held(NamedTuple, Generic[T]):
    """What is held back, since when, for a saga of which definition, and how many bytes of payload it keeps."""

    item: T
    since: datetime
    definition: str
    size: int = 0


class Absence(NamedTuple):
    """What is known about a lane that is away."""

    lane: Lane
    since: datetime
    next_try_at: datetime

    @property
    def name(self) -> str:
        """The participant, or the function, in words."""
        kind, *names = self.lane
        return f"participant {names[0]!r}" if kind == "participant" else f"step {'/'.join(names[:2])!r}"


class _Away(Generic[T]):
    """One lane that is away, or was until a moment ago.

    Attributes:
        since: When the first call failed.
        next_try_at: When the next held call may try.
        spare: The held calls, oldest first, that have another attempt after the next.
        last: The other held calls. They try only when no other can: a failure would end their step.
        held_of: How many calls are held of each definition.
        size: The bytes that they keep in memory.
        out: The calls that were let through, and have not ended.
        is_back: Whether an answer has come since.
    """

    def __init__(self, since: datetime, now: datetime) -> None:
        self.since = since
        self.backoff = Backoff(FIRST_TRY_S, LONGEST_TRY_S)
        self.next_try_at = now + timedelta(seconds=self.backoff.next_s())
        self.spare: dict[Key, Held[T]] = {}
        self.last: dict[Key, Held[T]] = {}
        self.held_of: Counter[str] = Counter()
        self.size = 0
        self.out: set[Key] = set()
        self.is_back = False

    @property
    def count(self) -> int:
        """How many calls are held."""
        return len(self.spare) + len(self.last)

    def hold(self, key: Key, held: Held[T], *, is_last: bool) -> None:
        """Hold a call, behind the others."""
        self.drop(key)
        (self.last if is_last else self.spare)[key] = held
        self.held_of[held.definition] += 1
        self.size += held.size

    def drop(self, key: Key) -> None:
        """Hold a call no more, if it is held."""
        for row in (self.spare, self.last):
            if key in row:
                self._take(row, key)

    def let_through(self, most: int, now: datetime) -> list[T]:
        """Let so many through, and all that were held for too long."""
        taken: list[T] = []
        for held in (self.spare, self.last):
            while held:
                key = next(iter(held))
                if len(taken) >= (MOST_OVERDUE if self._is_overdue(held[key], now) else most):
                    break
                taken.append(self._take(held, key))
                self.out.add(key)
        return taken

    def has_overdue(self, now: datetime) -> bool:
        """Whether a call has been held for too long."""
        oldest = [next(iter(held.values())) for held in (self.spare, self.last) if held]
        return any(self._is_overdue(held, now) for held in oldest)

    def _take(self, row: dict[Key, Held[T]], key: Key) -> T:
        taken = row.pop(key)
        self.held_of[taken.definition] -= 1
        self.size -= taken.size
        return taken.item

    def _is_overdue(self, held: Held[T], now: datetime) -> bool:
        return held.since + timedelta(seconds=LONGEST_HOLD_S) <= now


class Lanes(Generic[T]):
    """Which lanes are away, and what is held back for them. Used by the loop's thread; `absence` by any.

    Attributes:
        failing: The calls that failed in a row in each lane, with the time of the first. Empty as a rule, so that a
            call that succeeds costs one look.
        away: The lanes that are away.
    """

    def __init__(self) -> None:
        self.failing: dict[Lane, tuple[datetime, set[Key]]] = {}
        self.away: dict[Lane, _Away[T]] = {}

    def failed(self, lane: Lane, key: Key, now: datetime) -> bool:
        """A call got no answer, or "not now". True when its lane counts as away from now on."""
        away = self.away.get(lane)
        if away is not None:
            away.out.discard(key)
            if not away.is_back:
                return False
        since, row = self.failing.setdefault(lane, (now, set()))
        row.add(key)
        if len(row) < AWAY_AFTER:
            return False
        del self.failing[lane]
        gone = self.away[lane] = _Away(since, now)
        if away is not None:  # it had come back for a moment
            gone.spare, gone.last, gone.held_of, gone.out = away.spare, away.last, away.held_of, away.out
        return True

    def answered(self, lane: Lane, key: Key, now: datetime) -> list[T]:
        """A call was answered; returns the held calls that follow it."""
        self.failing.pop(lane, None)
        away = self.away.get(lane)
        if away is None:
            return []
        if not away.is_back:
            away.is_back = True
            logger.info("calls get answers again", **_words(lane), away_s=_seconds(now - away.since), held=away.count)
        away.out.discard(key)
        return self._let_through(lane, away, LET_THROUGH, now)

    def holds(self, lane: Lane, key: Key) -> bool:
        """Whether a call is to be held back."""
        away = self.away.get(lane)
        return away is not None and key not in away.out

    def hold(self, lane: Lane, key: Key, held: Held[T], *, is_last: bool) -> datetime:
        """Hold a call back; returns when the next of the lane tries.

        Args:
            lane: A lane that is away.
            key: The call.
            held: What goes on when it may.
            is_last: Whether its step has no attempt after this one.
        """
        away = self.away[lane]
        away.hold(key, held, is_last=is_last)
        return away.next_try_at

    def let(self, lane: Lane, key: Key) -> None:
        """Do not hold this call back: a person wants it to be made."""
        away = self.away.get(lane)
        if away is not None:
            away.out.add(key)

    def drop(self, key: Key) -> None:
        """The call is not wanted any more, or has ended."""
        for away in self.away.values():
            away.drop(key)
            away.out.discard(key)

    def due(self, lane: Lane, now: datetime) -> tuple[list[T], datetime | None]:
        """Let the next call of a lane try; also returns when the one after it does, None if nothing is held."""
        away = self.away.get(lane)
        if away is None:
            return [], None
        taken = self._let_through(lane, away, LET_THROUGH if away.is_back else 1, now)
        if not away.count:
            away.next_try_at = now  # whoever comes next tries at once
            return taken, None
        wait_s = FIRST_TRY_S if away.is_back or away.has_overdue(now) else away.backoff.next_s()
        away.next_try_at = now + timedelta(seconds=wait_s)
        return taken, away.next_try_at

    def held_of(self, definition: str) -> int:
        """How many calls and retries of a definition are held back."""
        return sum(away.held_of[definition] for away in self.away.values()) if self.away else 0

    @property
    def size(self) -> int:
        """The bytes that all held calls keep in memory."""
        return sum(away.size for away in self.away.values())

    def state(self, lane: Lane) -> tuple[Absence, int]:
        """What is known about a lane that is away, and how many calls are held back."""
        away = self.away[lane]
        return Absence(lane, away.since, away.next_try_at), away.count

    def absence(self, key: Key) -> Absence | None:
        """Why a call is held back; None if it is not."""
        for lane, away in list(self.away.items()):
            if key in away.spare or key in away.last:
                return Absence(lane, away.since, away.next_try_at)
        return None

    def absence_for(self, definition: str) -> Absence | None:
        """For whom most of the held calls of a definition wait; None if none is held."""
        found = [(away.held_of[definition], lane, away) for lane, away in list(self.away.items())]
        held, lane, away = max(found, key=lambda entry: entry[0], default=(0, (), None))
        return Absence(lane, away.since, away.next_try_at) if away is not None and held else None

    def _let_through(self, lane: Lane, away: _Away[T], most: int, now: datetime) -> list[T]:
        taken = away.let_through(most, now)
        if away.is_back and not away.count:
            del self.away[lane]
        return taken


def warn_away(absence: Absence, held: int, now: datetime) -> None:
    """Say that a lane is away, once for each time."""
    logger.warning(
        "calls get no answer, and wait until one of them does",
        **_words(absence.lane),
        failed_in_a_row=AWAY_AFTER,
        away_s=_seconds(now - absence.since),
        held=held,
        next_try_s=_seconds(absence.next_try_at - now),
        cure="see that it answers; the held calls go on by themselves then",
    )


def _words(lane: Lane) -> dict[str, str]:
    kind, *names = lane
    return {kind: "/".join(names)}


def _seconds(time: timedelta) -> float:
    return round(time.total_seconds(), 1)
