"""Timers: told once, in the order of their times, and only while they are wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.runtime.waiting.timers import Timers

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def after(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_items_come_in_the_order_of_their_times() -> None:
    """Not in that of their setting; what is due later stays."""
    timers = Timers[str]()
    for seconds, item in ((3, "late"), (1, "early"), (2, "middle")):
        timers.set(item, after(seconds), item)
    assert timers.due(after(2)) == ["early", "middle"]
    assert timers.due(after(2)) == []
    assert timers.due(after(3)) == ["late"]


def test_items_of_one_moment_come_in_the_order_of_setting() -> None:
    """Neither the keys nor the items need an order of their own."""
    timers = Timers[object]()
    items = [object(), object(), object()]
    for item in items:
        timers.set(item, after(1), item)
    assert timers.due(after(1)) == items


def test_an_item_is_due_at_its_very_moment() -> None:
    """Not a tick later."""
    timers = Timers[str]()
    timers.set("k", after(1), "x")
    assert timers.due(after(1) - timedelta(microseconds=1)) == []
    assert timers.due(after(1)) == ["x"]


def test_setting_a_key_again_replaces_its_timer() -> None:
    """Whether the new time is earlier or later, one is left."""
    timers = Timers[str]()
    timers.set("later", after(1), "old")
    timers.set("later", after(5), "new")
    timers.set("earlier", after(9), "old")
    timers.set("earlier", after(4), "new, too")
    assert len(timers) == 2
    assert timers.due(after(3)) == []
    assert timers.due(after(99)) == ["new, too", "new"]


def test_a_cancelled_timer_is_not_told() -> None:
    """Cancelling what is not there is nothing."""
    timers = Timers[str]()
    timers.set("k", after(1), "x")
    timers.cancel("k")
    timers.cancel("k")
    assert (len(timers), timers.next_due(), timers.due(after(1))) == (0, None, [])


def test_the_next_time_is_that_of_a_living_timer() -> None:
    """A loop that waits for it does not wake up for what was cancelled."""
    timers = Timers[str]()
    assert timers.next_due() is None
    timers.set("a", after(1), "a")
    timers.set("b", after(2), "b")
    timers.cancel("a")
    assert timers.next_due() == after(2)


def test_cancelled_timers_do_not_pile_up() -> None:
    """Most calls answer long before their time-out: a million of them leave nothing behind."""
    timers = Timers[int]()
    timers.set("kept", after(1), -1)
    for number in range(5_000):
        timers.set("call", after(3600), number)
        timers.cancel("call")
    assert len(timers._heap) < 1_100
    assert timers.due(after(4000)) == [-1]


def test_of_many_that_are_due_some_can_be_taken_at_a_time() -> None:
    """The earliest come first, and the rest stay due."""
    timers = Timers[int]()
    for number in range(5):
        timers.set(number, after(number), number)
    timers.cancel(1)
    assert timers.due(after(3), 2) == [0, 2]
    assert timers.next_due() == after(3)
    assert timers.due(after(9), 2) == [3, 4]
    assert timers.due(after(9), 2) == []


@for_all(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 20)), max_size=60), st.integers(0, 20))
def test_timers_are_a_dictionary_sorted_by_time(changes: list[tuple[str, int | None]], moment: int) -> None:
    """Whatever is set and cancelled: what is told is the last time of each key, in order."""
    timers, plain = Timers[str](), dict[str, int]()
    for key, due in changes:
        if due is None:
            timers.cancel(key)
            plain.pop(key, None)
        else:
            timers.set(key, after(due), key)
            plain[key] = due
    assert len(timers) == len(plain)
    assert timers.next_due() == (after(min(plain.values())) if plain else None)
    told = timers.due(after(moment))
    assert set(told) == {key for key, due in plain.items() if due <= moment}
    assert [plain[key] for key in told] == sorted(plain[key] for key in told)
