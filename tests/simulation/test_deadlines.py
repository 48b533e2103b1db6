"""Deadlines in virtual time: a saga that waits for capacity ends when its time is over."""

from __future__ import annotations

from saga_es import RetryPolicy, Saga
from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.state import SagaStatus
from saga_es.testing import CallFault, Script, World


def narrow(deadline_s: float | None) -> Saga:
    """One at a time; its call may take a minute."""
    saga = Saga("narrow", deadline_s=deadline_s, at_once=1)

    @saga.step(timeout_s=60, retry=RetryPolicy(attempts=1))
    def work() -> None:
        """It is asked and does not answer."""

    @saga.compensates(work)
    def undo() -> None:
        """Nothing."""

    return saga


def ends(world: World, saga: Saga) -> dict[str, float]:
    """After how many seconds a saga that has the capacity ends, and one that waits for it."""
    began, ids = world.clock.now(), ("holds", "waits")
    for saga_id in ids:
        world.start(saga, {}, saga_id)
    world.run()
    return {saga_id: (world.log.read(saga_id)[-1].recorded_at - began).total_seconds() for saga_id in ids}


def test_a_saga_that_waits_for_capacity_ends_at_its_deadline_though_the_capacity_is_not_free() -> None:
    """Within a second of it, and without a call; the call that holds the capacity takes a minute."""
    saga = narrow(deadline_s=10)
    world = World([saga], Script(calls={("work", Direction.ACTION): [CallFault.SLOW]}))
    ended = ends(world, saga)
    assert ended["holds"] >= 60
    assert 10 <= ended["waits"] <= 11
    state = world.state("waits")
    assert state is not None
    assert (state.status, state.steps) == (SagaStatus.COMPENSATED, {})
    assert not any(isinstance(recorded.event, e.StepStarted) for recorded in world.log.read("waits"))


def test_a_saga_of_an_older_plan_ends_at_its_own_deadline_where_the_present_plan_has_none() -> None:
    """The deployment comes while it waits for capacity, and the call that holds it is made again."""
    old, new = narrow(deadline_s=5), narrow(deadline_s=None)
    world = World([old], Script(calls={("work", Direction.ACTION): [CallFault.SLOW, CallFault.SLOW]}))
    world.at(1.0, lambda: world.deploy([new]))
    ended = ends(world, old)
    assert ended["holds"] >= 60
    assert 5 <= ended["waits"] <= 6
