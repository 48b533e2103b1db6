"""Suspects: whose turn it is among sagas that may take their process along."""

from __future__ import annotations

from datetime import timedelta

import pytest

from saga_es.core.plan import Plan, StepPlan
from saga_es.core.state import SagaState, StepState, StepStatus
from saga_es.runtime.cluster.suspects import TRIAL_S, Suspects
from tests.conftest import AT

PLAN = Plan("careful", (StepPlan(name="act", title="act"),))
MOST_CRASHES = 5
LATER = AT + timedelta(seconds=TRIAL_S + 1)


def a_saga(saga_id: str, crashes: int) -> SagaState:
    step = StepState(StepStatus.IN_PROGRESS, attempts=1, crashes=crashes)
    return SagaState(saga_id, PLAN, steps={"act": step})


def suspects(count: int, crashes: int = 2) -> Suspects:
    trials = Suspects()
    trials.hold_back((a_saga(f"s{i}", crashes) for i in range(count)), {})
    return trials


def test_only_suspects_are_held_back() -> None:
    """One worker that went says nothing about the call that was out."""
    trials = Suspects()
    innocent = a_saga("a", 1)
    assert trials.hold_back([innocent, a_saga("b", 2)], {}) == [innocent]
    assert "b" in trials
    assert len(trials) == 1


def nobody(_saga_id: str) -> bool:
    """No suspect runs here."""
    return False


def test_each_trial_that_is_survived_doubles_the_next() -> None:
    """Ten thousand innocent suspects are back at work after a few trials, not after ten thousand."""
    trials = suspects(10_000)
    sizes = []
    while group := trials.next(nobody, AT):
        sizes.append(len(group))
    assert sizes[:5] == [1, 2, 4, 8, 16]
    assert sum(sizes) == 10_000
    assert len(sizes) < 40


def test_nobody_is_tried_while_a_call_of_the_last_trial_is_out() -> None:
    """What kills now must be among those whose turn it is."""
    trials = suspects(3)
    (first,) = trials.next(nobody, AT)
    assert trials.next({first}.__contains__, AT + timedelta(seconds=1)) == []
    assert trials.next({first}.__contains__, LATER) == ["s1", "s2"], "the process lives: it was not the first"


def test_whoever_was_tried_and_went_again_is_tried_alone() -> None:
    """The next worker knows from the log that these three went together, and tells them apart."""
    trials = suspects(3, crashes=3)
    assert [trials.next(nobody, AT) for _ in range(3)] == [["s0"], ["s1"], ["s2"]]


def test_what_others_took_over_is_not_waited_for() -> None:
    """Another worker may try them, too: the log decides which of the two does."""
    trials = suspects(3)
    trials.forget_all_but(["s1", "somebody"])
    assert len(trials) == 1
    assert trials.next(nobody, AT) == ["s1"]


def test_the_last_that_was_taken_over_is_tried_first() -> None:
    """The others were out when it killed, and lived through their own trials: they are kept away from it."""
    trials = Suspects()
    tried = {"s0": AT, "s1": AT + timedelta(seconds=10), "killer": AT + timedelta(seconds=20), "s2": AT}
    trials.hold_back([a_saga(saga_id, 4 if saga_id != "s2" else 3) for saga_id in tried], tried)
    assert [trials.next(nobody, AT) for _ in range(4)] == [["killer"], ["s2"], ["s1"], ["s0"]]


@pytest.mark.parametrize("killers", [{7}, {0}, {39}, {3, 21}])
def test_only_those_that_kill_are_counted_out(killers: set[int]) -> None:
    """Forty calls that take minutes, some of which kill in their first second: the others are all alive in the end."""
    calls = {f"s{i:02}": 0 for i in range(40)}
    deadly = {f"s{i:02}" for i in killers}
    moved_at, now, out = dict.fromkeys(calls, AT), AT, set(calls)
    for _ in range(100):  # processes, each until somebody kills it
        for saga_id in out:
            calls[saga_id] += 1
        trials, out = Suspects(), set()
        waiting = [a_saga(saga_id, crashes) for saga_id, crashes in calls.items() if crashes < MOST_CRASHES]
        out |= {saga.saga_id for saga in trials.hold_back(waiting, moved_at)}
        while not out & deadly and (tried := trials.next(out.__contains__, now)):
            now += timedelta(seconds=TRIAL_S + 1)
            out |= set(tried)
            moved_at |= dict.fromkeys(tried, now)
        if not out & deadly:
            break
    assert {saga_id for saga_id, crashes in calls.items() if crashes >= MOST_CRASHES} == deadly
