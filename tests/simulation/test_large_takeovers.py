"""A takeover of large sagas is made of small pieces: between two of them the loop does all else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.runtime import payloads
from saga_es.runtime.inbox import Item
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Entry, prepare
from saga_es.testing.clock import BEGINNING
from saga_es.testing.world import CODEC, World

MANY = 60
SIZE = 9_000
AT_ONCE = 80_000
BUDGET = 1_000_000
WAIT_S = 60.0


def large() -> Saga:
    """A saga that has a step, and waits."""
    saga = Saga("large")

    @saga.step(compensation=None)
    def act(input: dict[str, str]) -> int:  # noqa: A002 (the name a step asks for)
        return len(input["text"])

    saga.delay("later", seconds=WAIT_S)
    return saga


def left(world: World, saga: Saga, name: str, *more: e.SagaEvent) -> list[str]:
    """Append large sagas of a worker that is gone."""
    ids = [f"{name}-{number}" for number in range(MANY)]
    for saga_id in ids:
        started = e.SagaStarted(saga.name, saga.plan_id, {"text": "x" * SIZE}, "w-gone")
        draft = Draft(saga_id, SAGA, 0, (started, e.StepStarted("act", 1), *more), BEGINNING)
        world.store.append(draft, prepare(draft, CODEC).rows)
    return ids


def read_in_each_iteration(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of streams that each iteration reads, from now on."""
    read, entries_of, iterate = [0], world.log.entries_of, world.worker.loop.iterate

    def counted(stream_ids: Sequence[str]) -> dict[str, list[Entry]]:
        found = entries_of(stream_ids)
        read[-1] += sum(len(entry.text) for entries in found.values() for entry in entries)
        return found

    def iterated(items: Iterable[Item]) -> int:
        read.append(0)
        return iterate(items)

    monkeypatch.setattr(world.log, "entries_of", counted)
    monkeypatch.setattr(world.worker.loop, "iterate", iterated)
    return read


@pytest.mark.parametrize("budget", [None, BUDGET, BUDGET // 10])
def test_no_iteration_reads_more_than_a_piece_of_what_is_taken_over_or_woken(
    monkeypatch: pytest.MonkeyPatch, budget: int | None
) -> None:
    """Of sagas with a call in flight and of those that wait; none is left for the next look in some seconds."""
    monkeypatch.setattr(payloads, "READ_BYTES_AT_ONCE", AT_ONCE)
    saga = large()
    world = World([saga], payload_memory=budget)
    until = BEGINNING + timedelta(seconds=WAIT_S)
    ids = left(world, saga, "calls")
    ids += left(world, saga, "waits", e.StepCompleted("act", SIZE), e.WaitStarted("later", until))
    read = read_in_each_iteration(world, monkeypatch)
    world.run()
    most = max(read)
    states = [world.state(saga_id) for saga_id in ids]
    assert Counter(state.status for state in states if state is not None) == {SagaStatus.COMPLETED: 2 * MANY}
    assert 0 < most <= 2 * AT_ONCE
    taken = [
        recorded.recorded_at
        for saga_id in ids
        for recorded in world.log.read(saga_id)
        if isinstance(recorded.event, e.SagaTakenOver)
    ]
    assert len(taken) == 2 * MANY
    assert budget == BUDGET // 10 or max(taken) <= BEGINNING + timedelta(seconds=2)
