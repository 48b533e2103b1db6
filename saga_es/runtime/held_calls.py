"""Holds calls and retries back while their participant is away (`calls/away.py`), and lets them go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec.structs import replace

from saga_es.core.outcomes import Direction
from saga_es.runtime.calls import away
from saga_es.runtime.calls.away import Absence, Held, Key, Lanes, warn_away
from saga_es.runtime.calls.port import Call, Executor, Lane
from saga_es.runtime.inbox import CallTimedOut, Item, Put, RetryTimer
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.timers import Timers

Heard = Literal["answer", "rejected", "unavailable", "unknown", "nothing"]
"""What came of a call: an answer, one of the failures, or nothing, because it was not made."""


class TryAgain(msgspec.Struct, frozen=True):
    """The next call of a lane that is away may try."""

    lane: Lane


Timer = Item | TryAgain
"""What the timers of sagas, calls and lanes hold."""


class HeldCalls:
    """The calls and retries that are held back. Used by the loop's thread.

    A retry is held back before its attempt is recorded. A first attempt is recorded with what comes before it; its call
    is held back, and is none until it begins. So the log does not grow while a participant is away.

    Args:
        begin: Takes a call that goes on.
        put_off: Is told of a call that is held back.

    Attributes:
        calls: The calls that are held back.
        lanes: What is known of each lane.
        weigh: Returns the bytes that a saga keeps in memory while a call of it is held back.
        most_bytes: From how many such bytes on sagas of the definitions that have held calls stay in the log.
    """

    def __init__(
        self,
        executor: Executor,
        timers: Timers[Timer],
        clock: Clock,
        put: Put,
        begin: Callable[[Call], None],
        put_off: Callable[[Call], None],
    ) -> None:
        self._executor = executor
        self._timers = timers
        self._clock = clock
        self._put = put
        self._begin = begin
        self._put_off = put_off
        self.calls: set[Key] = set()
        self._full: set[str] = set()
        self.lanes: Lanes[Call | RetryTimer] = Lanes()
        self.weigh: Callable[[str], int] = lambda _saga_id: 0
        self.most_bytes: int | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self.calls

    def note(self, key: Key, call: Call | None, heard: Heard) -> None:
        """Learn from what came of a call. An error of a function says nothing of others, unless it is "not now"."""
        if call is None or call.began_at is None or heard == "nothing":
            self.lanes.drop(key)
            return
        now, lane = self._clock.now(), call.lane
        if heard == "unknown" and lane[0] != "participant":
            self.lanes.drop(key)
            return
        if heard in {"answer", "rejected"}:
            self._go_on(self.lanes.answered(lane, key, now))
        elif self.lanes.failed(lane, key, now):
            self._call_back(lane, now)

    def holds_back(self, item: Call | RetryTimer, now: datetime) -> bool:
        """Whether a call or retry is held back: then it goes on when its participant answers, or when it may try."""
        if not self.lanes.away:
            return False
        key, lane = _key(item), item.lane
        if not self.lanes.holds(lane, key):
            return False
        size = self.weigh(item.saga_id) if isinstance(item, Call) else 0  # a saga that waits for a retry may sleep
        next_try_at = self.lanes.hold(lane, key, Held(item, now, item.definition, size), is_last=item.is_last)
        if ("away", lane) not in self._timers:
            self._timers.set(("away", lane), next_try_at, TryAgain(lane))
        if isinstance(item, Call):
            self.calls.add(key)
            self._put_off(item)
        return True

    def try_again(self, lane: Lane, now: datetime) -> None:
        """Let the next call of a lane try."""
        items, next_try_at = self.lanes.due(lane, now)
        if next_try_at is not None:
            self._timers.set(("away", lane), next_try_at, TryAgain(lane))
        self._go_on(items)

    def let_retries(self, saga_id: str, ways: Iterable[tuple[str, Direction]]) -> None:
        """Hold the retries of this saga back no more: a person wants them now."""
        for step, direction in ways:
            key = (saga_id, step, direction)
            timer = self._timers.get(key)
            if isinstance(timer, RetryTimer):
                self.lanes.let(timer.lane, key)

    def takes_leave(self, key: Key) -> bool:
        """Whether a call that has ended was held back; then it is not any more."""
        if key not in self.calls:
            return False
        self.calls.discard(key)
        return True

    def drop(self, key: Key) -> None:
        """Drop what is held back of a saga that has ended, or that this worker no longer owns."""
        if self.lanes.away:
            self.lanes.drop(key)

    def room_of(self, definition: str) -> int:
        """How many more sagas of a definition may begin; 0 from a limit on until half of it is free."""
        if not self.lanes.away and not self._full:
            return away.MOST_HELD
        held = self.lanes.held_of(definition)
        size, most = (self.lanes.size, self.most_bytes) if held and self.most_bytes is not None else (0, 1)
        if held >= away.MOST_HELD or size >= most:
            self._full.add(definition)
        elif 2 * held <= away.MOST_HELD and 2 * size <= most:
            self._full.discard(definition)
        return 0 if definition in self._full else away.MOST_HELD - held

    def absence_for(self, definition: str) -> Absence | None:
        """For whom new sagas of a definition stay in the log; None if they do not. Any thread may ask."""
        return self.lanes.absence_for(definition) if definition in self._full else None

    def absence(self, saga_id: str, step: str) -> Absence | None:
        """Why a call of a step is held back; None if it is not. Any thread may ask."""
        found = (self.lanes.absence((saga_id, step, direction)) for direction in Direction)
        return next((absence for absence in found if absence is not None), None)

    def _call_back(self, lane: Lane, now: datetime) -> None:
        """Hold back the calls of a lane that wait for a thread: each would spend an attempt."""
        for timer in self._timers.items():
            if not isinstance(timer, CallTimedOut) or timer.call.lane != lane or timer.call.began_at is not None:
                continue
            key = _key(timer.call)
            if key not in self.calls and not self._executor.give_up(timer.call):
                call = replace(timer.call, is_given_up=False)
                due = now + timedelta(seconds=call.timeout_s)
                self._timers.set(key, due, CallTimedOut(call.saga_id, timer.fact, call))
                self.holds_back(call, now)
        absence, held = self.lanes.state(lane)
        self._timers.set(("away", lane), absence.next_try_at, TryAgain(lane))
        warn_away(absence, held, now)

    def _go_on(self, items: Iterable[Call | RetryTimer]) -> None:
        for item in items:
            if isinstance(item, Call):
                self.calls.discard(_key(item))
                self._begin(item)
            else:
                self._put(item)


def _key(item: Call | RetryTimer) -> Key:
    return item.saga_id, item.step, item.direction
