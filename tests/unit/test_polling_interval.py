"""The pace of looking: quick while something comes, slow when nothing does, and never too slow for what is promised."""

from __future__ import annotations

from saga_es.runtime.waiting.polling import QUICK_S, SLOW_S, PollingInterval

PROMISED_S = 1.0
"""Within which an order from another host reaches the owner of its saga (docs/guide/operating.md)."""


def test_looks_become_fewer_while_nothing_comes_and_never_too_few() -> None:
    """Each wait is longer than the one before, up to a limit that leaves time to act on what is found."""
    pace = PollingInterval()
    waits = [pace.next_s(is_active=False) for _ in range(100)]
    assert waits[:9] == sorted(set(waits[:9]))
    assert waits[-1] == max(waits) == SLOW_S <= 0.7 * PROMISED_S


def test_what_comes_makes_it_quick_at_once_and_for_a_while() -> None:
    """Where one order came from, the next may follow: two seconds later it is still looked for more often."""
    pace = PollingInterval()
    for _ in range(100):
        pace.next_s(is_active=False)
    assert pace.next_s(is_active=True) == QUICK_S
    since_s = 0.0
    while (wait_s := pace.next_s(is_active=False)) < SLOW_S:
        since_s += wait_s
    assert since_s > 2.0
