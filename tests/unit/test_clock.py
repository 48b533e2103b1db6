"""The clock that all workers share: the database's, whatever the host's own says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.runtime.waiting.clock import SharedClock

TRUE = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Time:
    """The monotonic clock, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed_s = 1000.0
        self.travels_s = 0.0
        self.is_away = False
        monkeypatch.setattr("saga_es.runtime.waiting.clock.monotonic_s", lambda: self.passed_s)

    def ask(self) -> float:
        """What the database's clock says, when the answer takes a while."""
        if self.is_away:
            raise StoreUnavailable("away")
        self.passed_s += self.travels_s
        return TRUE.timestamp() + self.passed_s - 1000.0 - self.travels_s / 2


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


def test_a_database_that_is_set_right_is_followed(time: Time) -> None:
    """At the next look, not before."""
    clock = SharedClock(lambda: time.ask() + (3600.0 if time.passed_s > 1005 else 0.0))
    assert clock.now() == TRUE
    time.passed_s += 10
    assert clock.now() == TRUE + timedelta(seconds=10)
    clock.set_right()
    assert clock.now() == TRUE + timedelta(seconds=3610)


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
