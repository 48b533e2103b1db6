"""The clock that all workers share: the database's, whatever the host's own says."""

from __future__ import annotations

import time as real_time
from datetime import UTC, datetime, timedelta

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.runtime.waiting.clock import SharedClock
from saga_es.store.host_time import elapsed_s, monotonic_s
from tests.support.logged import captured_logs

TRUE = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Time:
    """The elapsed seconds, and the other clock, both moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed_s = 1000.0
        self.travels_s = 0.0
        self.is_away = False
        self.leapt_s = 0.0
        monkeypatch.setattr("saga_es.runtime.waiting.clock.elapsed_s", lambda: self.passed_s)

    def ask(self) -> float:
        """What the database's clock says, when the answer takes a while."""
        if self.is_away:
            raise StoreUnavailable("away")
        self.passed_s += self.travels_s
        return TRUE.timestamp() + self.leapt_s + self.passed_s - 1000.0 - self.travels_s / 2


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Time that passes when it is told to."""
    return Time(monkeypatch)


def test_it_tells_the_time_of_the_database(time: Time) -> None:
    """From the first time on that it is asked, and as it passes."""
    clock = SharedClock(time.ask)
    assert clock.now() == TRUE
    time.passed_s += 90
    assert clock.now() == TRUE + timedelta(seconds=90)


def test_a_small_difference_is_no_leap(time: Time) -> None:
    """Below what the answer may have taken."""
    clock = SharedClock(time.ask)
    clock.now()
    time.travels_s = 3.0
    before = clock.now()
    clock.set_right()
    assert clock.now() == before + timedelta(seconds=3)


def right(clock: SharedClock, time: Time, seconds: float) -> datetime:
    """Let so many seconds pass, with a look at the other clock every two and a half."""
    for _ in range(round(seconds / 2.5)):
        time.passed_s += 2.5
        clock.set_right()
    return clock.now()


@pytest.mark.parametrize("leap", [timedelta(days=1), -timedelta(days=1), timedelta(seconds=70), -timedelta(hours=1)])
def test_a_jump_is_followed_slowly(time: Time, leap: timedelta) -> None:
    """A tenth too much or too little passes in any time, and the time never goes back."""
    clock = SharedClock(time.ask)
    clock.now()
    time.leapt_s = leap.total_seconds()
    times = [right(clock, time, 2.5) for _ in range(24)]
    assert times == sorted(times)
    off = times[-1] - (TRUE + timedelta(seconds=60))
    assert abs(off) <= timedelta(seconds=6.001)
    assert (off > timedelta(0)) == (leap > timedelta(0))


def test_a_clock_that_jumps_there_and_back_costs_a_tenth_of_the_time_between(time: Time) -> None:
    """After it, nothing is left of the jump within as long again."""
    clock = SharedClock(time.ask)
    clock.now()
    time.leapt_s = 86_400.0
    assert right(clock, time, 600) - (TRUE + timedelta(seconds=600)) <= timedelta(seconds=60.001)
    time.leapt_s = 0.0
    assert abs(right(clock, time, 605) - (TRUE + timedelta(seconds=1205))) < timedelta(seconds=0.1)


def test_a_clock_that_was_set_right_is_reached(time: Time) -> None:
    """A minute in ten minutes, and then it is kept to."""
    clock = SharedClock(time.ask)
    clock.now()
    time.leapt_s = 60.0
    reached = right(clock, time, 605)
    assert abs(reached - (TRUE + timedelta(seconds=665))) < timedelta(seconds=0.1)
    assert right(clock, time, 100) - reached == timedelta(seconds=100)


def test_each_jump_is_said_once(time: Time) -> None:
    """With how far it is, and what to do."""
    clock = SharedClock(time.ask)
    clock.now()
    with captured_logs() as lines:
        time.leapt_s = 3600.0
        right(clock, time, 25)
        time.leapt_s = 0.0
        right(clock, time, 60)
        time.leapt_s = -20.0
        right(clock, time, 5)
    assert [round(line["ahead_s"]) for line in lines] == [3600, -20]
    assert all("restart the workers" in line["cure"] for line in lines)


def test_the_first_answer_is_taken_as_it_is(time: Time) -> None:
    """Also when it comes late: until then, only the host's clock was known."""
    clock = SharedClock(time.ask)
    time.is_away = True
    clock.now()
    time.is_away = False
    clock.set_right()
    assert clock.now() == TRUE


def test_the_time_of_a_suspended_machine_counts() -> None:
    """A deadline is a promise about the world, not about this process: the elapsed seconds are those since the boot."""
    assert elapsed_s.args[0] == getattr(real_time, "CLOCK_BOOTTIME", real_time.CLOCK_MONOTONIC)
    assert monotonic_s.args[0] == real_time.CLOCK_MONOTONIC


def test_without_the_database_the_time_goes_on(time: Time) -> None:
    """As it was; and when nobody ever answered, as the host has it."""
    clock = SharedClock(time.ask)
    clock.now()
    time.is_away = True
    with pytest.raises(StoreUnavailable):
        clock.set_right()
    time.passed_s += 5
    assert clock.now() == TRUE + timedelta(seconds=5)
    assert abs(SharedClock(time.ask).now() - datetime.now(UTC)) < timedelta(seconds=60)
