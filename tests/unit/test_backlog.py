"""How much waits for each definition: what is taken over, and whether a new saga waits where it is."""

from __future__ import annotations

import pytest

from saga_es.runtime.calls import backlog
from saga_es.runtime.calls.backlog import CROWDED_AFTER_S, WAITING_FOR_A_THREAD, Backlog

MOST = 2 * WAITING_FOR_A_THREAD


class Time:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_as_many_sagas_are_taken_over_as_threads_can_call_soon() -> None:
    """No more are looked for until half of them have begun; another definition has a count of its own."""
    waiting = Backlog(threads=2)
    waiting.add(["trip"] * (MOST // 2), [])
    assert (waiting.capacity_of("trip"), waiting.capacity_of("order")) == (MOST // 2, MOST)
    waiting.add(["trip"], [])
    assert (waiting.capacity_of("trip"), waiting.capacity_of("order")) == (0, MOST)
    waiting.has_begun("trip")
    assert waiting.capacity_of("trip") == MOST // 2


def test_coroutines_count_until_they_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no thread that they wait for, but there is a participant."""
    monkeypatch.setattr(backlog, "MOST_AWAITED", 10)
    waiting = Backlog(threads=2)
    waiting.add([], ["trip"] * 6)
    assert waiting.capacity_of("trip") == 0
    waiting.is_back("trip")
    assert waiting.capacity_of("trip") == 5


def test_a_burst_of_quick_calls_is_no_crowd() -> None:
    """It is done before any new saga would have been claimed from the log."""
    time = Time()
    waiting = Backlog(2, time)
    waiting.add(["trip"] * (MOST + 1), [])
    assert not waiting.is_crowded("trip")
    for _ in range(MOST // 2 + 1):
        waiting.has_begun("trip")
    time.now += 2 * CROWDED_AFTER_S
    assert not waiting.is_crowded("trip")


def test_more_calls_than_threads_can_make_soon_are_a_crowd_until_half_of_them_have_begun() -> None:
    """And only for their own definition."""
    time = Time()
    waiting = Backlog(2, time)
    waiting.add(["trip"] * (MOST + 1), [])
    time.now += CROWDED_AFTER_S
    assert (waiting.is_crowded("trip"), waiting.is_crowded("order")) == (True, False)
    for _ in range(MOST // 2):
        waiting.has_begun("trip")
    assert waiting.is_crowded("trip")
    waiting.has_begun("trip")
    assert not waiting.is_crowded("trip")
