"""A saga is migrated at each moment of its run, while calls are lost and its worker dies at each point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest

from saga_es import Saga
from saga_es.commands import Migrate, SendSignal
from saga_es.core import events as e
from saga_es.store.log.codec import PLAN
from saga_es.store.log.entries import Draft, prepare
from saga_es.testing import Ledger, World
from saga_es.testing.judge import faults_found
from saga_es.testing.world import CODEC
from tests.simulation.every_way import SAGA_ID, Path, ledger_faults
from tests.simulation.shapes import TWICE, act, add, linear

MOMENTS = [0.04 * n for n in range(7)]
"""From before the first call to after the last, several to each call."""

SEEDS = range(3)


def renamed(ledger: Ledger, saga: Saga) -> None:
    """Every step has another name, and one is added at the end."""
    for name in ("first", "second", "third", "more"):
        add(saga, ledger, name)
    for name, was in zip(("first", "second", "third"), "abc", strict=True):
        saga.replaces(name, was)


def last_dropped(ledger: Ledger, saga: Saga) -> None:
    """The last step is gone, and another stands there."""
    for name in ("a", "b", "other"):
        add(saga, ledger, name)


def together(ledger: Ledger, saga: Saga) -> None:
    """The steps after the first are done at the same time, under other names."""
    add(saga, ledger, "a")
    with saga.together():
        add(saga, ledger, "left")
        add(saga, ledger, "right")
    saga.replaces("left", "b")
    saga.replaces("right", "c")


def with_a_pivot(ledger: Ledger, saga: Saga) -> None:
    """A last step from which there is no way back, and one after it."""
    add(saga, ledger, "a")
    add(saga, ledger, "second")
    saga.replaces("second", "b")
    saga.step(retry=TWICE, kind="pivot", compensation=None)(act(ledger, "last"))
    saga.step(retry=TWICE, kind="retriable")(act(ledger, "mail"))


def with_waits(ledger: Ledger, saga: Saga) -> None:
    """A delay and a signal before what is new."""
    add(saga, ledger, "a")
    add(saga, ledger, "second")
    saga.replaces("second", "b")
    saga.delay("nap", 0.3)
    saga.wait_for("word", timeout_s=5)
    add(saga, ledger, "c", after=["word"])


VERSIONS = [renamed, last_dropped, together, with_a_pivot, with_waits]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.__name__)
def test_a_migration_at_any_moment_loses_nothing_whoever_dies(version: Callable[[Ledger, Saga], None]) -> None:
    """Every effect at most once, all of them or none, the keys as before; and the saga comes to its end."""
    ends: Counter[str] = Counter()
    for seed in SEEDS:
        for moment in MOMENTS:
            for end, wrong in _each_death(version, seed, moment):
                assert wrong == []
                ends[end] += 1
    assert {"COMPLETED migrated", "COMPENSATED migrated"} <= set(ends), ends


def _each_death(version: Callable[[Ledger, Saga], None], seed: int, moment: float) -> Iterator[tuple[str, list[str]]]:
    calm = Path([], dice=Random(seed))
    yield _run(version, calm, moment)
    for point in range(0, calm.points, 3 if seed else 1):
        yield _run(version, Path(list(calm.taken), (point,), dice=Random(seed)), moment)


def _run(version: Callable[[Ledger, Saga], None], path: Path, moment: float) -> tuple[str, list[str]]:
    ledger = Ledger()
    old, new = linear(ledger), Saga("linear")
    version(ledger, new)
    with new.retired():  # the process still has the code of the old version
        for name in "abc":
            add(new, ledger, name)
    world = World([new], path)
    plan = Draft(old.plan_id, PLAN, 0, (e.PlanRecorded(old.plan),), world.clock.now())
    world.store.append(plan, prepare(plan, CODEC).rows)
    world.start(old, {}, SAGA_ID)
    world.ask(SAGA_ID, Migrate(new.plan_id, new.plan, dict(new.replaced), "ann", "a new version"), moment)
    for after_s in (0.4, 20.0):
        world.ask(SAGA_ID, SendSignal("word", key="k"), after_s)
    world.run()
    state = world.state(SAGA_ID)
    assert state is not None
    how = "migrated" if state.is_migrated else "not migrated"
    return f"{state.status} {how}", [*faults_found(world), *ledger_faults(world, ledger)]
