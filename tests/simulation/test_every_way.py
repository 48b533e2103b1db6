"""Every way that a saga can go, with a death of its worker at each point of each: thousands of runs.

The whole of it, and pairs of deaths, is `make torture`.
"""

from __future__ import annotations

from typing import Any

import pytest

from saga_es.commands import Cancel, Pause, Resume
from saga_es.core.outcomes import Direction
from saga_es.testing import CAREFUL, CallFault, Calm, Chaos, Script
from tests.simulation.every_way import SAGA_ID, Shape, quiet, run, try_every_way, try_some_ways, ways
from tests.simulation.shapes import OTHERS, linear, linear_of, pivot, probed

GIVEN: dict[Shape, dict[str, Any]] = {linear: {}, **OTHERS}
SHAPES = [pytest.param(shape, given, id=shape.__name__) for shape, given in GIVEN.items()]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def test_three_steps_keep_every_promise_whatever_becomes_of_each_call_and_wherever_the_worker_dies() -> None:
    """Each third combination of answers, times each point to die at: no effect twice, none missing or left over.

    Of the pairs of answers that there can be all but two are among them, as they would be with each second.
    """
    tally = try_every_way(linear, only=lambda number: number % 3 == 1)
    assert tally.violations == []
    assert tally.runs > 5_000
    assert set(tally.ends) == {"COMPLETED", "COMPENSATED"}


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_some_ways_of_every_shape_keep_every_promise(shape: Shape, given: dict[str, Any]) -> None:
    """Twenty ways thrown by dice, each with a death at each of its points."""
    tally = try_some_ways(shape, range(20), **given)
    assert tally.violations == []
    assert tally.crashes > 200
    # Only behind a pivot that may have happened there is no way back.
    assert ("FAILED" in tally.ends) is (shape is pivot)


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_chaos_keeps_every_promise(shape: Shape, given: dict[str, Any]) -> None:
    """Deaths, frozen workers, lost commits, lost, late and doubled calls, all at random: a hundred seeds."""
    for seed in range(100):
        _, wrong = run(shape, Chaos(seed, calls=CAREFUL), **given)
        assert wrong == [], f"seed {seed}"


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_frozen_worker_that_wakes_up_has_no_say_any_more(shape: Shape, given: dict[str, Any]) -> None:
    """It stands still before each turn once; another takes its sagas, and not one of its appends is accepted."""
    calm = Calm()
    run(shape, calm, **given)
    for turn in range(calm.iterations):
        world, wrong = run(shape, Script(freeze_at=[turn]), **given)
        assert wrong == [], f"frozen before turn {turn}"
        assert len(world.workers) == 2


@pytest.mark.parametrize("after_s", [0.0, 0.015, 0.03, 0.05, 0.3, 0.6])
@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_cancel_at_any_moment_is_survived_with_a_death_at_any_point(
    shape: Shape, given: dict[str, Any], after_s: float
) -> None:
    """Wherever the saga is when it is cancelled, and wherever the worker dies then."""
    asked = {**given, "orders": [*given.get("orders", ()), (after_s, Cancel("ann", "no more"))]}
    calm = Calm()
    run(shape, calm, **asked)
    for point in range(0, calm.points, 2):
        _, wrong = run(shape, Script(kill_at=[point]), **asked)
        assert wrong == [], f"dies at point {point}"


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_cancel_is_survived_whatever_became_of_the_calls_before_it(shape: Shape, given: dict[str, Any]) -> None:
    """Ways thrown by dice, cancelled early and late: also what waits to be tried again, and may have happened."""
    for after_s in (0.05, 0.1, 0.25):
        orders = [*given.get("orders", ()), (after_s, Cancel("ann", "no more"))]
        tally = try_some_ways(shape, range(5), **{**given, "orders": orders})
        assert tally.violations == [], f"cancelled after {after_s} s"


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_worker_that_was_up_all_the_time_takes_over(shape: Shape, given: dict[str, Any]) -> None:
    """Wherever the first worker dies, the second goes on; no third is needed."""
    calm = Calm()
    run(shape, calm, **given, workers=2)
    for point in range(calm.points):
        world, wrong = run(shape, Script(kill_at=[point]), **given, workers=2)
        assert wrong == [], f"dies at point {point}"
        assert len(world.workers) == 2


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_pause_and_a_resume_are_survived_with_a_death_at_any_point(shape: Shape, given: dict[str, Any]) -> None:
    """Paused before the death or after it, it goes on when it is resumed."""
    orders = [*given.get("orders", ()), (0.03, Pause("ann", "wait")), (4.0, Resume("ann", "go on"))]
    calm = Calm()
    run(shape, calm, **{**given, "orders": orders})
    for point in range(calm.points):
        _, wrong = run(shape, Script(kill_at=[point]), **{**given, "orders": orders})
        assert wrong == [], f"dies at point {point}"


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_saga_that_sleeps_whenever_it_waits_goes_the_same_way(shape: Shape, given: dict[str, Any]) -> None:
    """Without memory for payloads, the log is the same to the byte."""
    awake, asleep = (run(shape, Calm(), **given, payload_memory=budget)[0] for budget in (None, 0))
    assert asleep.store.text() == awake.store.text()


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_saga_that_sleeps_whenever_it_waits_survives_a_death_at_any_point(
    shape: Shape, given: dict[str, Any]
) -> None:
    """Ways thrown by dice, and chaos: it is woken by whatever happens to it."""
    tally = try_some_ways(shape, range(5), **given, payload_memory=0)
    assert tally.violations == []
    for seed in range(30):
        _, wrong = run(shape, Chaos(seed, calls=CAREFUL), **given, payload_memory=0)
        assert wrong == [], f"seed {seed}"


@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.3])
@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_a_cancel_wakes_a_saga_that_sleeps(shape: Shape, given: dict[str, Any], after_s: float) -> None:
    """At any moment, with a death at any point."""
    asked = {**given, "orders": [*given.get("orders", ()), (after_s, Cancel("ann", "no more"))], "payload_memory": 0}
    calm = Calm()
    run(shape, calm, **asked)
    for point in range(0, calm.points, 3):
        _, wrong = run(shape, Script(kill_at=[point]), **asked)
        assert wrong == [], f"dies at point {point}"


@pytest.mark.parametrize(("shape", "given"), SHAPES)
def test_the_same_seed_gives_the_same_log_byte_for_byte(shape: Shape, given: dict[str, Any]) -> None:
    """So a run that went wrong can be looked at again and again."""
    first, again = (run(shape, Chaos(7, calls=CAREFUL), **given)[0] for _ in range(2))
    assert first.store.text() == again.store.text()
    assert first.store.text() != run(shape, Chaos(11, calls=CAREFUL), **given)[0].store.text()


def test_dice_make_no_participant_lie() -> None:
    """A probe that is refused says that nothing has happened; with this seed, it was refused after the action was done.

    That is no fault that an engine could survive, so the dice do not throw it.
    """
    _, wrong = run(probed, Chaos(2612, calls=CAREFUL), **GIVEN[probed])
    assert wrong == []
    thrown = {Chaos(seed, rate=1.0).call("a", Direction.PROBE, 1) for seed in range(200)}
    assert thrown == set(CallFault) - {CallFault.REFUSED}


def test_the_ways_of_two_steps_are_all_there() -> None:
    """Counted by hand: four goings-on a step; refused or given up, with three fates of each step undone."""
    count = sum(1 for _ in ways(linear_of(2)))
    assert count == 4 * 4 + (1 + 3) + 4 * (3 + 9)


def test_a_run_ends_where_the_log_says_so() -> None:
    """The world stops when every saga has ended and nothing is on its way."""
    world, wrong = run(linear, Calm())
    assert wrong == []
    assert world.all_ended
    assert world.store.sagas[SAGA_ID]["status"] == "COMPLETED"
