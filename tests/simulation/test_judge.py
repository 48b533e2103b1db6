"""The judge finds each lie that is planted in a run that went well, and nothing in the run itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from saga_es import Saga, StoreUnavailable
from saga_es.core import events as e
from saga_es.core.outcomes import Completed, Direction
from saga_es.runtime.calls.port import Call
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Written
from saga_es.testing import CallFault, Calm, Chaos, Crash, Ledger, Script, StoreFault, World
from saga_es.testing.clock import BEGINNING, VirtualClock
from saga_es.testing.judge import faults_found
from saga_es.testing.memory import MemoryStore, MemoryWriter
from saga_es.testing.world import CODEC
from tests.simulation.every_way import SAGA_ID, quiet
from tests.simulation.shapes import linear, nested


def ran(shape: Callable[[Ledger], Any] = linear, faults: Calm | None = None) -> World:
    """A run that went well, or was refused at its last step and compensated."""
    quiet()
    world = World([shape(Ledger())], faults)
    world.start(world.definitions[0], {}, SAGA_ID)
    world.run()
    assert faults_found(world) == []
    return world


def refused() -> World:
    return ran(faults=Script(calls={("c", Direction.ACTION): [CallFault.REFUSED]}))


def without(world: World, type_: str) -> None:
    """Take the last event of that type out of the log."""
    stream = world.store.streams[SAGA_ID]
    place = max(place for place, entry in enumerate(stream) if entry.type == type_)
    stream[place:] = [replace(entry, version=entry.version - 1) for entry in stream[place + 1 :]]


def test_a_step_that_never_ran_is_found() -> None:
    """COMPLETED means that every effect is there."""
    world = ran()
    world.network.history = [call for call in world.network.history if call.step != "b"]
    assert faults_found(world) == [f"saga {SAGA_ID}: COMPLETED, but step b never ran"]


def test_a_step_that_was_not_undone_is_found() -> None:
    """COMPENSATED means that none is."""
    world = refused()
    history = world.network.history
    world.network.history = [call for call in history if (call.step, call.direction) != ("a", Direction.COMPENSATION)]
    assert faults_found(world) == [f"saga {SAGA_ID}: COMPENSATED, but step a ran and was not undone after it"]


def test_a_step_that_first_ran_after_it_was_undone_is_found() -> None:
    """A late call must be refused; only a repetition may be answered."""
    world = refused()
    late = next(call for call in world.network.history if call.step == "a")
    world.network.history.append(late)
    assert faults_found(world) == [], "a repetition"
    world.network.history.remove(late)
    assert faults_found(world) == [f"saga {SAGA_ID}: COMPENSATED, but step a ran and was not undone after it"]


def test_two_keys_of_one_step_are_found() -> None:
    """Every attempt of one saga, step and direction carries the same key."""
    world = ran()
    world.network.history.append(replace(world.network.history[0], key="another", outcome=Completed()))
    assert faults_found(world) == [f"saga {SAGA_ID}: step a was called under 2 keys"]


def test_a_call_without_an_intent_is_found() -> None:
    """Nothing is called before the log says that it will be."""
    world = ran()
    call = Call(SAGA_ID, "a", Direction.ACTION, 7, None, "key", {}, 1.0)
    world.network.send(call, lambda _: None)
    assert faults_found(world) == ["a was called without a committed intent"]


def test_an_event_that_is_missing_from_the_log_is_found() -> None:
    """The stream is checked event by event, by books of their own."""
    world = refused()
    without(world, "CompensationStarted")
    assert "is undone without an intent" in "".join(faults_found(world))


def test_a_worker_that_writes_to_what_is_not_its_saga_is_found() -> None:
    """The version may be free and the event sound: the saga is somebody else's."""
    world = ran()
    writer = MemoryWriter(world.store, CODEC, Calm(), "worker-9")
    version = len(world.store.streams[SAGA_ID])
    draft = Draft(
        SAGA_ID, SAGA, version, (e.SagaReopened("COMPENSATING", "ann", "why not", world.clock.now()),), BEGINNING
    )
    writer.write([writer.prepare(draft)])
    ended = Draft(SAGA_ID, SAGA, version + 1, (e.SagaFailed("gone"),), BEGINNING)
    writer.write([writer.prepare(ended)])
    assert f"worker-9 wrote SagaFailed to {SAGA_ID} of None" in faults_found(world)


def test_a_parent_that_does_not_wait_for_its_child_is_found() -> None:
    """What it says of a step stands in the log after the end of the saga that the step runs."""
    world = ran(nested)
    (child,) = (saga_id for saga_id in world.store.sagas if saga_id != SAGA_ID)
    stream = world.store.streams[child]
    stream[-1] = replace(stream[-1], position=10_000)
    assert faults_found(world) == [f"step y of {SAGA_ID} is done before its saga {child}"]


def test_a_saga_that_failed_by_a_mistake_of_ours_is_found() -> None:
    """FAILED is an end like any other, but not when the engine stumbled over itself."""

    class Mistaken(Calm):
        """Faults that fail."""

        def call(self, step: str, direction: Direction, attempt: int) -> CallFault:
            """Never comes to an answer."""
            raise LookupError(f"{step} {direction} {attempt}")

    quiet()
    world = World([linear(Ledger())], Mistaken())
    world.start(world.definitions[0], {}, SAGA_ID)
    world.run()
    assert faults_found(world) == [f"saga {SAGA_ID}: FAILED, because a call could not be made: LookupError: a action 1"]


def test_a_saga_that_never_ends_is_found() -> None:
    """The world comes to a stop, and says which sagas have not come to theirs."""
    quiet()
    stuck = Saga("stuck")
    stuck.wait_for("word", timeout_s=None)
    world = World([stuck])
    world.start(stuck, {}, SAGA_ID)
    with pytest.raises(AssertionError, match=f"nothing will ever happen again, but {SAGA_ID} is IN_PROGRESS"):
        world.run()


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────


def history(faults: Calm) -> list[str]:
    """The calls that arrive, with the number of their attempt."""
    return [f"{call.direction} {call.step} {call.attempt}" for call in ran(faults=faults).network.history]


@pytest.mark.parametrize(
    ("fault", "arrivals"),
    [
        (CallFault.NONE, ["action a 1", "action b 1", "action c 1"]),
        (CallFault.REQUEST_LOST, ["action a 1", "action b 2", "action c 1"]),
        (CallFault.BUSY, ["action a 1", "action b 2", "action c 1"]),
        (CallFault.ANSWER_LOST, ["action a 1", "action b 1", "action b 2", "action c 1"]),
        (CallFault.DUPLICATED, ["action a 1", "action b 1", "action c 1", "action b 1"]),
        (CallFault.SLOW, ["action a 1", "action b 2", "action c 1", "action b 1"]),
        (CallFault.REFUSED, ["action a 1", "compensation a 1"]),
    ],
)
def test_a_call_meets_the_fault_it_is_told(fault: CallFault, arrivals: list[str]) -> None:
    """What arrives, and what is made again for it."""
    arrived = history(Script(calls={("b", Direction.ACTION): [fault]}))
    assert sorted(arrived) == sorted(arrivals)


def test_a_worker_dies_where_it_is_told() -> None:
    """Another takes over each time, and what is doubled carries the same number."""
    world = ran(faults=Script(kill_at=[4, 9]))
    assert [worker.is_alive for worker in world.workers] == [False, False, True]
    assert world.store.dead == {"worker-1", "worker-2"}


@pytest.mark.parametrize(("fault", "written"), [(StoreFault.LOST, 0), (StoreFault.UNHEARD, 1)])
def test_a_commit_meets_the_fault_it_is_told(fault: StoreFault, written: int) -> None:
    """Lost, it did not take place; unheard, it did. The worker cannot tell, and writes it again."""
    store = MemoryStore(VirtualClock())
    writer = MemoryWriter(store, CODEC, Script(commits=[fault]), "w")
    prepared = writer.prepare(Draft(SAGA_ID, SAGA, 0, (e.SagaStarted("s", "p", {}, "w"),), BEGINNING))
    with pytest.raises(StoreUnavailable):
        writer.write([prepared])
    assert len(store.streams[SAGA_ID]) == written
    assert writer.write([prepared]) == [Written()]
    assert len(store.streams[SAGA_ID]) == 1


def test_a_crash_is_no_exception_that_anybody_could_catch() -> None:
    """`except Exception` in the engine or in a step does not survive the death of its process."""
    assert not issubclass(Crash, Exception)


def test_chaos_is_the_same_for_the_same_seed_and_ends() -> None:
    """Its dice are its own, and after so many points nothing goes wrong any more."""
    first, again, other = (
        [chaos.crashes() for _ in range(100)] for chaos in (Chaos(1, 0.5), Chaos(1, 0.5), Chaos(2, 0.5))
    )
    assert first == again != other
    tired = Chaos(1, rate=1.0, until_point=3)
    tired.points = 3
    assert tired.commit() is StoreFault.NONE
    assert tired.call("a", Direction.ACTION, 1) is CallFault.NONE
