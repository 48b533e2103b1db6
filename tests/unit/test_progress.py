"""What calls say of themselves reaches the loop: at a bounded rate, the last word last, and none that is too late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from saga_es.core.facts import CallProgressed
from saga_es.core.outcomes import NOT_RECORDED, Direction
from saga_es.runtime.calls.context import StepContext
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.port import Call
from saga_es.runtime.held_calls import Timer
from saga_es.runtime.inbox import Item, ProgressMade
from saga_es.runtime.progress import LARGEST_DETAILS, RECORDED_EVERY_S, Progress
from saga_es.runtime.waiting.timers import Timers
from saga_es.testing.clock import VirtualClock


class Desk:
    """A call under way, and the loop that hears of it."""

    def __init__(self) -> None:
        self.executor = Executor()
        self.clock = VirtualClock()
        self.timers: Timers[Timer] = Timers()
        self.inbox: list[Item] = []
        self.progress = Progress(self.executor, self.timers, self.clock, self.inbox.append)
        self.call = Call("saga-1", "seat", Direction.ACTION, 2, None, "k-1", {}, 30.0, says=self.progress.said)
        self.context = StepContext(self.call)

    def hears(self) -> list[Any]:
        """What the loop would record now."""
        items: list[Any] = [*self.inbox, *self.timers.due(self.clock.now())]
        self.inbox.clear()
        assert all(item == ProgressMade("saga-1", self.call) for item in items)
        facts = [self.progress.to_record(item.call) for item in items]
        return [fact.details for fact in facts if fact is not None]


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A call of which nothing was heard yet."""
    desk = Desk()
    yield desk
    desk.executor.close()


def test_the_first_word_is_recorded_at_once(desk: Desk) -> None:
    """It names the call."""
    desk.context.progress({"done": 1})
    (item,) = desk.inbox
    assert isinstance(item, ProgressMade)
    assert desk.progress.to_record(item.call) == CallProgressed("seat", Direction.ACTION, 2, {"done": 1})


def test_of_many_words_the_last_of_each_interval_is_recorded(desk: Desk) -> None:
    """A thousand a second are one event in ten seconds; the last one is not lost, though no other follows it."""
    recorded = []
    for number in range(25):
        for part in range(1000):
            desk.context.progress([number, part])
        recorded += desk.hears()
        desk.clock.sleep(1)
    assert RECORDED_EVERY_S == 10
    assert recorded == [[0, 999], [10, 999], [20, 999]]
    desk.clock.sleep(RECORDED_EVERY_S)
    assert desk.hears() == [[24, 999]]
    desk.clock.sleep(RECORDED_EVERY_S)
    assert desk.hears() == []


def test_a_call_that_says_something_now_and_then_is_always_heard_at_once(desk: Desk) -> None:
    """Its words are further apart than the rate asks for."""
    for number in range(5):
        desk.context.progress(number)
        assert desk.hears() == [number]
        desk.clock.sleep(RECORDED_EVERY_S)


def test_a_call_that_was_given_up_says_nothing(desk: Desk) -> None:
    """Neither what it says then, nor what it said before and was not recorded."""
    desk.context.progress(1)
    assert desk.hears() == [1]
    desk.context.progress(2)
    assert desk.hears() == []
    desk.executor.give_up(desk.call)
    desk.context.progress(3)
    assert desk.inbox == []
    desk.clock.sleep(RECORDED_EVERY_S)
    assert desk.hears() == []


def test_a_call_that_is_over_says_nothing(desk: Desk) -> None:
    """A thread that its step left running holds the context, which means nothing any more."""
    desk.call.is_back = True
    desk.context.progress(1)
    assert desk.inbox == []


@pytest.mark.parametrize(
    ("details", "why"),
    [
        (object(), "details is of type object, which has no JSON form; use dicts, lists"),
        ({"at": [float("nan")]}, "details.at[0] is NaN, which JSON does not have"),
        ("x" * LARGEST_DETAILS, f"{LARGEST_DETAILS + 2} bytes of JSON, the limit is {LARGEST_DETAILS}"),
    ],
    ids=["no JSON", "NaN", "too large"],
)
def test_details_that_cannot_be_recorded_are_replaced_by_what_says_so(desk: Desk, details: Any, why: str) -> None:
    """The step goes on all the same, and its time-out runs anew."""
    desk.context.progress(details)
    ((said),) = desk.hears()
    assert said[NOT_RECORDED].startswith(why)
    assert desk.call.began_at is not None


def test_the_time_out_of_a_call_runs_anew_from_each_word(desk: Desk) -> None:
    """Also from those that are not recorded."""
    desk.call.began_at = -1_000_000.0
    assert desk.executor.left_s(desk.call) < 0
    desk.context.progress()
    assert desk.executor.left_s(desk.call) > 0
    desk.call.began_at = -1_000_000.0
    desk.context.progress()
    assert desk.executor.left_s(desk.call) > 0
