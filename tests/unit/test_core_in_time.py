"""Waits that were recorded by a clock that was ahead: none is longer than its own length, none is over too soon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.core.waits import CLOCKS_DIFFER, in_time

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECONDS = st.floats(-1e7, 1e7).map(lambda seconds: timedelta(seconds=seconds))
LENGTHS = st.floats(0, 1e6).map(lambda seconds: timedelta(seconds=seconds))


def waits(recorded_at: datetime, length: timedelta) -> list[e.SagaEvent]:
    """One event of each kind that holds the end of a wait."""
    due = recorded_at + length
    return [
        e.StepFailed("a", 1, "unavailable", "busy", due),
        e.CompensationFailed("a", 1, "unavailable", "busy", due),
        e.WaitStarted("a", due),
        e.SagaStarted("trip", "plan-1", {}, "w-1", {}, None, due, None),
    ]


def due_of(event: e.SagaEvent) -> datetime:
    match event:
        case e.StepFailed(retry_at=datetime() as due) | e.CompensationFailed(retry_at=datetime() as due):
            return due
        case e.WaitStarted(until=datetime() as due) | e.SagaStarted(deadline_at=datetime() as due):
            return due
        case _:
            raise AssertionError(event)


@given(SECONDS, LENGTHS)
def test_what_is_left_of_a_wait_is_its_own_length_at_most(ahead: timedelta, length: timedelta) -> None:
    """However far ahead the clock was; what was recorded in the past stays as it is."""
    recorded_at = NOW + ahead
    for event in waits(recorded_at, length):
        (found,) = in_time([(recorded_at, event)], NOW)
        left = due_of(found) - NOW
        assert left <= length + CLOCKS_DIFFER
        if ahead <= CLOCKS_DIFFER:
            assert found == event
        else:
            assert left == length


def test_times_that_somebody_chose_stay() -> None:
    """A saga starts when its caller said, and its deadline counts from there; an endless wait has no end."""
    ahead = NOW + timedelta(days=1)
    chosen = e.SagaStarted("trip", "plan-1", {}, None, {}, ahead, ahead + timedelta(hours=1), None)
    failed = e.StepFailed("a", 1, "rejected", "no", None)
    others: list[e.SagaEvent] = [chosen, e.WaitStarted("a", None), failed, e.SagaBegan()]
    assert in_time([(ahead, event) for event in others], NOW) == others


@given(st.lists(SECONDS, min_size=1, max_size=4), SECONDS)
def test_a_wait_begins_anew_once_however_often_it_is_looked_at(aheads: list[timedelta], passed: timedelta) -> None:
    """What an earlier look found holds; an event that came since has a lead of its own."""
    leads: dict[int, timedelta] = {}
    past = [(NOW + ahead, waits(NOW + ahead, timedelta(seconds=60))[2]) for ahead in aheads]
    first = in_time(past, NOW, leads)
    later = NOW + abs(passed)
    recorded = waits(later, timedelta(seconds=60))[2]
    assert in_time([*past, (later, recorded)], later, leads) == [*first, recorded]
