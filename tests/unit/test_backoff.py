"""The growing wait: each wait is longer than the one before, none is longer than the longest."""

from __future__ import annotations

from saga_es.runtime.waiting.backoff import Backoff


def test_waits_grow_by_their_factor_up_to_the_longest() -> None:
    """The first wait is the first, and no wait exceeds the longest."""
    backoff = Backoff(1.0, 5.0)
    assert [backoff.next_s() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_after_a_success_waits_begin_with_the_first_again() -> None:
    """What failed long ago does not slow down what fails now."""
    backoff = Backoff(0.1, 10.0, 3.0)
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.1
