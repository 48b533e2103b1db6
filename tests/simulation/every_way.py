"""Every way a saga can go: each reachable combination of what becomes of its calls, times each point to die at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from random import Random
from typing import Any

from saga_es import Saga
from saga_es.core.commands import Command
from saga_es.core.outcomes import Direction
from saga_es.core.state import SagaStatus, StepStatus
from saga_es.logs import NAME
from saga_es.runtime.ids import idempotency_key
from saga_es.testing import CallFault, Calm, Ledger, World
from saga_es.testing.judge import faults_found

SAGA_ID = "s"
ENOUGH = 20
"""Violations after which no more ways are tried: something is wrong, and one of them will tell what."""

FORWARD = (
    (),
    (CallFault.REFUSED,),
    (CallFault.BUSY,),
    (CallFault.REQUEST_LOST,),
    (CallFault.ANSWER_LOST,),
    (CallFault.ANSWER_LOST, CallFault.ANSWER_LOST),
)
"""What becomes of the attempts at an action: the last one is given up without anybody knowing whether it happened."""

BACKWARD = ((), (CallFault.ANSWER_LOST,), (CallFault.BUSY,))
PROBING = ((), (CallFault.ANSWER_LOST,))
OPTIONS = {Direction.ACTION: FORWARD, Direction.COMPENSATION: BACKWARD, Direction.PROBE: PROBING}

Shape = Callable[[Ledger], Saga]


@dataclass
class Path(Calm):
    """One way: which option was taken at each choice; new choices take the first, or what the dice say."""

    taken: list[int]
    kill_at: Sequence[int] = ()
    dice: Random | None = None
    left: list[int] = field(default_factory=list)
    """How many options each choice had."""

    def __post_init__(self) -> None:
        super().__init__()
        self._waiting: dict[tuple[str, Direction], list[CallFault]] = {}

    def crashes(self) -> bool:
        """At the points that are told."""
        super().crashes()
        return self.points - 1 in self.kill_at

    def call(self, step: str, direction: Direction, attempt: int) -> CallFault:
        """The first call of each step and direction is a choice; it settles those that repeat it."""
        super().call(step, direction, attempt)
        key = (step, direction)
        if key not in self._waiting:
            place = len(self.left)
            options = OPTIONS[direction]
            self.left.append(len(options))
            if place == len(self.taken):
                self.taken.append(0 if self.dice is None else self.dice.randrange(len(options)))
            # After a death other calls may come than in the way without one: what is no option of theirs is the first.
            option = self.taken[place] if self.taken[place] < len(options) else 0
            self._waiting[key] = list(options[option])
        waiting = self._waiting[key]
        return waiting.pop(0) if waiting else CallFault.NONE


@dataclass
class Tally:
    """What was run, and what was wrong."""

    runs: int = 0
    crashes: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another tally in."""
        self.runs += other.runs
        self.crashes += other.crashes
        self.violations += other.violations
        for end, times in other.ends.items():
            self.ends[end] = self.ends.get(end, 0) + times


def ways(shape: Shape, first: Sequence[int] = (), **given: Any) -> Iterator[tuple[list[int], int]]:
    """Each way without a death: the options taken, and the number of points at which its worker could have died.

    Args:
        shape: Makes the saga.
        first: Only the ways that take these options at first.
        given: As for `run`.
    """
    taken = list(first)
    while True:
        path = Path(list(taken))
        run(shape, path, **given)
        yield list(path.taken[: len(path.left)]), path.points
        taken = path.taken[: len(path.left)]
        while len(taken) > len(first) and taken[-1] + 1 == path.left[len(taken) - 1]:
            taken.pop()
        if len(taken) == len(first):
            return
        taken[-1] += 1


def try_every_way(shape: Shape, deaths: int = 1, only: Callable[[int], bool] = lambda _: True, **given: Any) -> Tally:
    """Run each way, and each way with so many deaths at each combination of points.

    Args:
        shape: Makes the saga.
        deaths: How often the worker dies in a run, at most.
        only: Whether to take the way of this number (from 0): to share the work, or to do a part of it.
        given: As for `run`.
    """
    tally = Tally()
    for number, (taken, points) in enumerate(ways(shape, **given)):
        if len(tally.violations) > ENOUGH:
            break
        if only(number):
            tally.add(try_way(shape, taken, points, deaths, **given))
    return tally


def try_way(shape: Shape, taken: Sequence[int], points: int, deaths: int = 1, **given: Any) -> Tally:
    """Run one way, and that way with so many deaths at each combination of its points."""
    tally = Tally()
    for count in range(deaths + 1):
        # A run that died has more points than one that did not: those after a takeover.
        reach = points if count <= 1 else points + points // 2
        for kill_at in combinations(range(reach), count):
            tally.add(_one(shape, Path(list(taken), kill_at), given))
    return tally


def try_some_ways(shape: Shape, seeds: Iterable[int], **given: Any) -> Tally:
    """Run one way for each seed, whose choices are thrown, and that way with a death at each point."""
    tally = Tally()
    for seed in seeds:
        if len(tally.violations) > ENOUGH:
            break
        taken, points = way_by_dice(shape, seed, **given)
        for kill_at in [(), *((point,) for point in range(points))]:
            tally.add(_one(shape, Path(list(taken), kill_at), given))
    return tally


def way_by_dice(shape: Shape, seed: int, **given: Any) -> tuple[list[int], int]:
    """A way whose choices are thrown, and the number of its points."""
    calm = Path([], dice=Random(seed))
    run(shape, calm, **given)
    return list(calm.taken), calm.points


def _one(shape: Shape, path: Path, given: dict[str, Any]) -> Tally:
    world, wrong = run(shape, path, **given)
    name = f"{shape.__name__}, options {path.taken}, dies at {list(path.kill_at)}: "
    return tally_of(world, [name + fault for fault in wrong])


def tally_of(world: World, wrong: list[str]) -> Tally:
    """One run, counted."""
    status = world.store.sagas.get(SAGA_ID, {}).get("status", "never started")
    died = sum(not worker.is_alive for worker in world.workers)
    return Tally(1, died, {str(status): 1}, wrong)


def run(
    shape: Shape,
    path: Calm,
    input_: dict[str, Any] | None = None,
    orders: Iterable[tuple[float, Command]] = (),
    workers: int = 1,
    payload_memory: int | None = None,
    deployed: Shape | None = None,
) -> tuple[World, list[str]]:
    """One run, and what was wrong with it; `deployed` replaces the worker that dies, goes away, and comes back."""
    saga, ledger = _made(shape)
    ledger.clear()
    world = World([saga], path, workers=workers, payload_memory=payload_memory)
    if deployed is not None:
        new = deployed(ledger)
        world.deployments = [(1.0, [new], False), (6.0, [saga], False), (12.0, [new], True)]
    world.start(saga, input_ or {}, SAGA_ID)
    for after_s, order in orders:
        world.ask(SAGA_ID, order, after_s)
    try:
        world.run()
    except AssertionError as error:
        return world, [str(error)]
    return world, [*faults_found(world), *ledger_faults(world, ledger)]


@cache
def _made(shape: Shape) -> tuple[Saga, Ledger]:
    ledger = Ledger()
    return shape(ledger), ledger


def ledger_faults(world: World, ledger: Ledger) -> list[str]:
    """Effects at most once; all there at COMPLETED, none that can be undone at COMPENSATED."""
    wrong = [f"key {key} had {times} effects" for key, times in ledger.effects.items() if times > 1]
    for saga_id in world.store.sagas:
        state = world.state(saga_id)
        assert state is not None
        for name, step in state.steps.items():
            planned = state.plan.step(name)
            stands = idempotency_key(saga_id, step.called_as or name, Direction.ACTION) in ledger.standing
            if planned.work is not None:
                continue
            if state.status is SagaStatus.COMPLETED and step.status is StepStatus.COMPLETED and not stands:
                wrong.append(f"{saga_id} is COMPLETED without the effect of {name}")
            if state.status is SagaStatus.COMPENSATED and planned.compensation is not None and stands:
                wrong.append(f"{saga_id} is COMPENSATED with the effect of {name}")
    return wrong


def quiet() -> None:
    """Thousands of takeovers need no log lines."""
    logging.getLogger(NAME).setLevel(logging.CRITICAL)
