"""The work of a saga is counted, not timed: its function calls, which no busy machine changes, have a budget."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

BUDGET = {64: 450, 1: 900}
"""The most function calls of a saga of four steps that are functions, by how many such sagas are under way.

It may only fall. What makes a saga cheaper lowers it, so that the next change cannot lose that again.
"""

SLACK = 0.05
"""How far a count may lie below its budget before the budget is to be lowered."""


@pytest.fixture(scope="module")
def counted() -> dict[int, float]:
    """The calls of one saga, counted in a process of its own: in this one, threads of other tests would count too."""
    script = f"from benchmarks.counted import calls_a_saga\nfor n in {list(BUDGET)}: print(n, calls_a_saga(n))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return {int(many): float(calls) for many, calls in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("under_way", BUDGET)
def test_a_saga_takes_no_more_calls_than_its_budget(counted: dict[int, float], under_way: int) -> None:
    """With many under way, and with one alone; `python -m benchmarks.counted` prints the counts."""
    assert counted[under_way] <= BUDGET[under_way]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="later versions count fewer calls for the same code")
@pytest.mark.parametrize("under_way", BUDGET)
def test_the_budget_has_no_slack(counted: dict[int, float], under_way: int) -> None:
    """What was won is kept: lower the budget to the count, and two in a hundred more."""
    assert counted[under_way] >= BUDGET[under_way] * (1 - SLACK)
