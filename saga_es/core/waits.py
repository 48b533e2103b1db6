"""Waits that were recorded by a clock that was ahead: none is longer than its own length."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from saga_es.core import events as e

CLOCKS_DIFFER = timedelta(seconds=2)
"""How far apart the clocks of two workers may be without any of them being wrong."""


def in_time(
    past: Iterable[tuple[datetime, e.SagaEvent]], now: datetime, leads: dict[int, timedelta] | None = None
) -> list[e.SagaEvent]:
    """The events as they would be if none had been recorded later than now.

    What was recorded later than now was recorded by a clock that was ahead, by at least the difference. The times that
    it counted from then come sooner by as much. So a wait begins anew at most; none is over sooner than it should be.

    Args:
        past: The events, and when each was recorded.
        now: The time by a clock that is right.
        leads: By how much the clock was ahead at an event, by its place, as an earlier look found. What is found now
            is added: a wait begins anew once, not with each look.
    """
    leads = {} if leads is None else leads
    found: list[e.SagaEvent] = []
    for place, (recorded_at, event) in enumerate(past):
        if place not in leads and recorded_at - now > CLOCKS_DIFFER:
            leads[place] = recorded_at - now
        found.append(_sooner(event, leads[place]) if place in leads else event)
    return found


def _sooner(event: e.SagaEvent, by: timedelta) -> e.SagaEvent:
    match event:
        case e.StepFailed(retry_at=datetime() as due) | e.CompensationFailed(retry_at=datetime() as due):
            return replace(event, retry_at=due - by)
        case e.WaitStarted(until=datetime() as until):
            return replace(event, until=until - by)
        case e.SagaStarted(starts_at=None, deadline_at=datetime() as due):  # a start at a time is as its caller said
            return replace(event, deadline_at=due - by)
        case _:
            return event
