"""Answers that come in a moment are gathered into one batch; nobody waits for those that do not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from saga_es.runtime.inbox import Inbox, StopRequest
from saga_es.runtime.waiting.batch_window import LONGEST_S, MOST_LEFT_OUT, BatchWindow
from tests.conftest import TIMEOUT_S


class Waits:
    """What `BatchWindow` waited for, and whether it came."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.comes = True

    def __call__(self, enough: int, most_s: float) -> bool:
        """Never for longer than the longest moment."""
        assert 0 < most_s <= LONGEST_S
        self.asked.append(enough)
        return self.comes


@pytest.fixture
def waits() -> Waits:
    """Answers that come."""
    return Waits()


def test_answers_are_waited_for_as_long_as_they_come(waits: Waits) -> None:
    """After each turn that made calls, and after no other."""
    gathering = BatchWindow(waits)
    for enough in (8, 0, 3, 100_000):
        gathering.wait_for_answers(enough)
    assert waits.asked == [8, 3, 100_000]


def test_who_waited_in_vain_waits_less_and_less_often(waits: Waits) -> None:
    """The turns between two tries double; when the answers come again, each turn waits again."""
    gathering = BatchWindow(waits)
    waits.comes = False
    tries = []
    for turn in range(2000):
        before = len(waits.asked)
        gathering.wait_for_answers(1)
        tries += [turn] * (len(waits.asked) - before)
    between = [after - before - 1 for before, after in pairwise(tries)]
    assert between == [1, 2, 4, 8, 16, 32, 64, 128, *[MOST_LEFT_OUT] * (len(between) - 8)]
    waits.comes = True
    for _ in range(MOST_LEFT_OUT + 1):
        gathering.wait_for_answers(1)
    asked = len(waits.asked)
    gathering.wait_for_answers(1)
    gathering.wait_for_answers(1)
    assert len(waits.asked) == asked + 2


def test_an_inbox_tells_when_as_many_items_have_come() -> None:
    """What lies in it already counts."""
    inbox = Inbox()
    inbox.put(StopRequest())
    assert inbox.wait_for(1, 0.0)
    assert not inbox.wait_for(2, 0.0)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(inbox.wait_for, 4, TIMEOUT_S)
        while not inbox.is_waited_for:
            pass
        for _ in range(2):
            inbox.put(StopRequest())
            assert inbox.is_waited_for, "nobody is woken before it is worth it"
        inbox.put(StopRequest())
        assert waiting.result(TIMEOUT_S)
    assert inbox.take() == [StopRequest()] * 4


def test_one_item_wakes_who_waits_for_any() -> None:
    """Also after somebody waited for more in vain."""
    inbox = Inbox()
    assert not inbox.wait_for(2, 0.0)
    with ThreadPoolExecutor() as threads:
        taking = threads.submit(inbox.take, TIMEOUT_S)
        while not inbox.is_waited_for:
            pass
        inbox.put(StopRequest())
        assert taking.result(TIMEOUT_S) == [StopRequest()]
