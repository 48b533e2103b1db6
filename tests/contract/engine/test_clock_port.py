"""What the runtime may ask of a clock holds for the machine's, for the database's, and for virtual time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.runtime.waiting.clock import Clock, SharedClock, SystemClock
from saga_es.testing.clock import VirtualClock
from tests.conftest import TIMEOUT_S

SHORT_S = 0.02


def _away() -> float:
    raise StoreUnavailable("away")


CLOCKS: dict[str, Callable[[], Clock]] = {
    "the machine's": SystemClock,
    "the database's": lambda: SharedClock(time.time),
    "the database's, without an answer": lambda: SharedClock(_away),
    "virtual": VirtualClock,
}


@pytest.fixture(params=CLOCKS)
def clock(request: pytest.FixtureRequest) -> Clock:
    """A clock of each kind."""
    return CLOCKS[request.param]()


def set_right(clock: Clock) -> None:
    """Compare with the others' clock, if it can be asked."""
    try:
        clock.set_right()
    except StoreUnavailable:
        return


def test_the_time_is_aware_and_in_utc(clock: Clock) -> None:
    """So it compares with what stands in the log."""
    assert clock.now().utcoffset() == timedelta(0)


def test_time_does_not_go_back(clock: Clock) -> None:
    """Nor does it when it is compared with a clock that is right."""
    times = [clock.now()]
    for _ in range(100):
        times.append(clock.now())
        set_right(clock)
    assert times == sorted(times)


def test_a_sleep_lets_its_time_pass(clock: Clock) -> None:
    """Not less; a millisecond is left to the clock's own steps."""
    before = clock.now()
    clock.sleep(SHORT_S)
    assert clock.now() - before >= timedelta(seconds=SHORT_S - 0.001)


def test_a_sleep_of_nothing_is_over_at_once(clock: Clock) -> None:
    """The time has not leapt."""
    before = clock.now()
    clock.sleep(0.0)
    assert clock.now() - before < timedelta(seconds=TIMEOUT_S)


def test_a_clock_that_was_woken_lets_nobody_sleep_any_more(clock: Clock) -> None:
    """Those who sleep, and those who come later: who sleeps for an hour is back at once."""
    sleepers = [threading.Thread(target=clock.sleep, args=(3600.0,), daemon=True) for _ in range(2)]
    sleepers[0].start()
    clock.wake()
    sleepers[1].start()
    for sleeper in sleepers:
        sleeper.join(TIMEOUT_S)
        assert not sleeper.is_alive()


def test_a_clock_goes_on_where_its_comparison_fails(clock: Clock) -> None:
    """As it was: no leap, and it is not stuck."""
    before = clock.now()
    set_right(clock)
    clock.sleep(SHORT_S)
    assert timedelta(0) < clock.now() - before < timedelta(seconds=TIMEOUT_S)
