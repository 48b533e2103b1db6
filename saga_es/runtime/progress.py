"""What calls under way say of themselves: that they go on. The loop hears it, and records it at a bounded rate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from saga_es.core.facts import CallProgressed
from saga_es.core.outcomes import NOT_RECORDED
from saga_es.core.values import Unfaithful, door_for_results
from saga_es.runtime.calls.port import Call, Executor
from saga_es.runtime.held_calls import Timer
from saga_es.runtime.inbox import ProgressMade, Put
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.timers import Timers

RECORDED_EVERY_S = 10.0
"""How often what one call says is recorded: a step of an hour writes at most 360 events."""

LARGEST_DETAILS = 4_000
"""The most bytes of JSON of what is said: the log keeps it for ever."""


class Progress:
    """Hears what calls say.

    Args:
        put: Puts items into the inbox of the loop.
    """

    def __init__(self, executor: Executor, timers: Timers[Timer], clock: Clock, put: Put) -> None:
        self._executor = executor
        self._timers = timers
        self._clock = clock
        self._put = put

    def said(self, call: Call, details: Any) -> None:
        """A call says, on any thread, that it goes on."""
        details = _recordable(details)
        if not self._executor.goes_on(call):
            return
        call.progress = details
        if not call.is_progress_put:  # what is put already brings the last word
            call.is_progress_put = True
            self._put(ProgressMade(call.saga_id, call))

    def to_record(self, call: Call) -> CallProgressed | None:
        """What the call said last; None if nobody waits for it, or if it is too soon: then it is put again in time."""
        if call.is_given_up:
            return None
        now, last = self._clock.now(), call.recorded_at
        if last is not None and (due := last + timedelta(seconds=RECORDED_EVERY_S)) > now:
            key = ("progress", call.saga_id, call.step, call.direction)
            self._timers.set(key, due, ProgressMade(call.saga_id, call))
            return None
        call.recorded_at = now
        call.is_progress_put = False  # first: what is said from now on is put anew
        return CallProgressed(call.step, call.direction, call.attempt, call.progress)


def _recordable(details: Any) -> Any:
    """The details as they are read back from the log, or what says why they cannot be recorded."""
    try:
        encoded, recorded = door_for_results(details, "details")
    except Unfaithful as unfaithful:
        return {NOT_RECORDED: str(unfaithful)}
    if len(encoded) > LARGEST_DETAILS:
        return {NOT_RECORDED: f"{len(encoded)} bytes of JSON, the limit is {LARGEST_DETAILS}"}
    return recorded
