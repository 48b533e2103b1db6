"""The judge of a simulated run: the log and the participants' history must agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.invariants import violations
from saga_es.core.migration import present_name
from saga_es.core.outcomes import Completed, Direction
from saga_es.core.plan import StepPlan, step_of
from saga_es.core.state import SagaState, SagaStatus
from saga_es.store.log.codec import SAGA
from saga_es.testing.network import Ran
from saga_es.testing.world import World

MISHAPS = ("deciding failed", "a call could not be made", "an event could not be recorded")
"""Reasons of FAILED sagas that show a mistake in the engine, or in the faults."""


def faults_found(world: World) -> list[str]:
    """Everything that is wrong with a finished run; empty if all promises were kept."""
    found = [f"{call.step} was called without a committed intent" for call in world.network.unfounded]
    found += world.store.trespasses
    found += _keys(world.network.history)
    found += _children(world)
    for saga_id in world.store.sagas:
        state = world.state(saga_id)
        assert state is not None, "the view has no saga that the log has not"
        history = world.log.read(saga_id)
        assert isinstance(history[0].event, e.SagaStarted), "a saga begins with its start"
        plan = world.sagas.plan(history[0].event.plan_id)
        broken = violations(saga_id, plan, [(recorded.version, recorded.event) for recorded in history])
        found += [str(violation) for violation in broken]
        by_hand = {
            recorded.event.step
            for recorded in history
            if isinstance(recorded.event, e.StepSkipped) and recorded.event.actor is not None
        }
        ran = [
            replace(call, step=present_name(call.step, state.renamed))
            for call in world.network.history
            if call.saga_id == saga_id
        ]
        found += [f"saga {saga_id}: {fault}" for fault in _effects(state, ran, by_hand)]
    return found


def _keys(history: list[Ran]) -> list[str]:
    keys: dict[tuple[str, str, bool], set[str]] = defaultdict(set)
    for call in history:
        keys[call.saga_id, call.step, call.direction is Direction.COMPENSATION].add(call.key)
    return [
        f"saga {saga_id}: step {step} was {'undone' if undoing else 'called'} under {len(used)} keys"
        for (saga_id, step, undoing), used in keys.items()
        if len(used) > 1
    ]


def _children(world: World) -> list[str]:
    """What a parent records about a child stands in the log after the child's own end."""
    entries = [entry for stream in world.store.streams.values() for entry in stream if entry.category == SAGA]
    started: dict[tuple[str, str], str] = {}
    ends: dict[str, str] = {}
    found = []
    for entry in sorted(entries, key=lambda entry: entry.position):
        event = world.log.decode(entry).event
        child = started.get((entry.stream_id, getattr(event, "step", None) or ""))
        match event:
            case e.ChildStarted(step, saga_id=saga_id):
                started[entry.stream_id, step] = saga_id
            case e.StepCompleted(step) if child is not None and ends.get(child) != "SagaCompleted":
                found.append(f"step {step} of {entry.stream_id} is done before its saga {child}")
            case e.CompensationCompleted(step) if (
                child in world.store.sagas and ends.get(child or "") != "SagaCompensated"
            ):
                found.append(f"step {step} of {entry.stream_id} is undone before its saga {child}")
            case _:
                ends[entry.stream_id] = entry.type
    return found


def _effects(state: SagaState, ran: list[Ran], by_hand: set[str]) -> list[str]:
    """COMPLETED means that every action ran. COMPENSATED means that each action that ran was undone after it.

    An action runs when its key first arrives: a participant that honours keys answers a repetition, and does nothing.
    """
    done = _places(reversed([*enumerate(ran)]), Direction.ACTION)
    undone = _places(enumerate(ran), Direction.COMPENSATION)
    calls = [(name, step) for name, step in _called(state) if name not in by_hand]
    match state.status:
        case SagaStatus.FAILED if (state.error or "").startswith(MISHAPS):
            return [f"FAILED, because {state.error}"]
        case SagaStatus.COMPLETED:
            wanted = (name for name, _ in calls if state.step(name).status == "COMPLETED")
            return [f"COMPLETED, but step {name} never ran" for name in wanted if name not in done]
        case SagaStatus.COMPENSATED:
            standing = (name for name, step in calls if step.compensation is not None and name in done)
            return [
                f"COMPENSATED, but step {name} ran and was not undone after it"
                for name in standing
                if undone.get(name, -1) < done[name]
            ]
        case _:
            return []


def _called(state: SagaState) -> list[tuple[str, StepPlan]]:
    names = [name for name in state.steps if state.plan.step(name).work is None]
    return [(name, state.plan.step(step_of(name))) for name in names]


def _places(ran: Iterable[tuple[int, Ran]], direction: Direction) -> dict[str, int]:
    """The place in history at which each step ran to its end; of several places, the last in `ran`."""
    return {
        call.step: place for place, call in ran if call.direction is direction and isinstance(call.outcome, Completed)
    }
