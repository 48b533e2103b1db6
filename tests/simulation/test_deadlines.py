"""Deadlines in virtual time: a saga that waits for capacity ends when its time is over."""

from __future__ import annotations

from saga_es import RetryPolicy, Saga
from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.state import SagaStatus
from saga_es.testing import CallFault, Script, World


def test_a_saga_that_waits_for_capacity_ends_at_its_deadline_though_the_capacity_is_not_free() -> None:
    """Within a second of it, and without a call; the call that holds the capacity takes a minute."""
    saga = Saga("narrow", deadline_s=10, at_once=1)

    @saga.step(timeout_s=60, retry=RetryPolicy(attempts=1))
    def work() -> None:
        """It is asked and does not answer."""

    @saga.compensates(work)
    def undo() -> None:
        """Nothing."""

    world = World([saga], Script(calls={("work", Direction.ACTION): [CallFault.SLOW]}))
    began = world.clock.now()
    for saga_id in ("holds", "waits"):
        world.start(saga, {}, saga_id)
    world.run()
    ended = {
        saga_id: (world.log.read(saga_id)[-1].recorded_at - began).total_seconds() for saga_id in ("holds", "waits")
    }
    assert ended["holds"] >= 60
    assert 10 <= ended["waits"] <= 11
    state = world.state("waits")
    assert state is not None
    assert (state.status, state.steps) == (SagaStatus.COMPENSATED, {})
    assert not any(isinstance(recorded.event, e.StepStarted) for recorded in world.log.read("waits"))
