"""The whole enumeration in virtual time, and as much chaos. It takes about an hour on two cores.

The ways of a saga are all reachable combinations of what can become of its calls. Each way is run with its worker
dying at each point of it, and the small sagas with two deaths at each pair of points. Each point is also the moment of
a deployment, for each kind of change, forward and back. Other shapes, which have too many
ways, go some thousands that are thrown by dice. Chaos is everything at once, at random: deaths, frozen workers, lost
commits, calls that are lost, late, doubled, refused.

With a budget each part does what it can in its share of the time, in an order that is shuffled the same way each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import Any

from rich.progress import Progress
from rich.table import Table

from saga_es.testing import CAREFUL, Chaos
from tests.simulation.deployments import CHANGES, added, deploy, parameter_added
from tests.simulation.every_way import (
    Shape,
    Tally,
    quiet,
    run,
    tally_of,
    try_some_ways,
    try_way,
    way_by_dice,
    ways,
)
from tests.simulation.shapes import OTHERS, linear, linear_of

GIVEN: dict[Shape, dict[str, Any]] = {**{linear_of(steps): {} for steps in (1, 2, 3, 4)}, **OTHERS}
SHAPES = {shape.__name__: shape for shape in [*GIVEN, linear, *CHANGES]}

TOO_LONG = {added, parameter_added}
"""Versions of one step more: they have ten times as many ways, so theirs go by dice."""

FIRST_OPTIONS = range(6)
"""What can become of the first call: so the search for the ways is shared out."""

AT_ONCE = 20
"""Ways, or seeds, that are tried before the next look at the clock."""

DICE = 2000
CHAOS = 5000

Way = tuple[list[int], int]


@dataclass(frozen=True)
class Unit:
    """A piece of the work: some ways of one shape, or seeds for the dice; and which versions are deployed."""

    shape: str
    deaths: int
    ways: Sequence[Way] = ()
    seeds: Sequence[int] = ()
    deployed: Sequence[str] = ()

    @property
    def size(self) -> int:
        """How many ways it tries."""
        return len(self.ways) + len(self.seeds)


@dataclass
class Part:
    """A line of the table."""

    title: str
    work: Callable[[Unit], Tally]
    units: list[Unit]
    tried: int = 0
    tally: Tally = field(default_factory=Tally)

    @property
    def size(self) -> int:
        """How many ways there are to try."""
        return sum(unit.size for unit in self.units)


# ── The work of the processes ────────────────────────────────────────────────────────────────────────────


def ways_from(shape: str, option: int) -> list[Way]:
    """The ways whose first call meets this option."""
    return list(ways(SHAPES[shape], [option]))


def all_ways(shape: str) -> list[Way]:
    """All ways, in an order that is shuffled the same way each time."""
    found = list(ways(SHAPES[shape]))
    Random(shape).shuffle(found)
    return found


def every_way(unit: Unit) -> Tally:
    """Each of the ways, with each combination of deaths."""
    tally = Tally()
    for taken, points in unit.ways:
        tally.add(try_way(SHAPES[unit.shape], taken, points, unit.deaths))
    return tally


def some_ways(unit: Unit) -> Tally:
    """A way for each seed, with a death at each point."""
    shape = SHAPES[unit.shape]
    return try_some_ways(shape, unit.seeds, **GIVEN[shape])


def deployments(unit: Unit) -> Tally:
    """Each of the ways with a deployment at each of its points, of each of the versions."""
    old, tally = SHAPES[unit.shape], Tally()
    thrown = (way_by_dice(old, seed) for seed in unit.seeds)
    for taken, points in [*unit.ways, *thrown]:
        for new in unit.deployed:
            for point in range(points):
                world, wrong = deploy(old, SHAPES[new], taken, point)
                tally.add(tally_of(world, wrong))
    return tally


def chaos(unit: Unit) -> Tally:
    """Everything going wrong at random, once for each seed."""
    shape, tally = SHAPES[unit.shape], Tally()
    for seed in unit.seeds:
        world, wrong = run(shape, Chaos(seed, calls=CAREFUL), **GIVEN[shape])
        tally.add(tally_of(world, [f"{unit.shape}, chaos with seed {seed}: {fault}" for fault in wrong]))
    return tally


# ── What there is to do ──────────────────────────────────────────────────────────────────────────────────


def parts(pool: ProcessPoolExecutor) -> list[Part]:
    """All parts, their work cut into units."""
    made = [_linear(pool, steps, deaths) for steps, deaths in ((1, 2), (2, 2), (3, 2), (4, 1))]
    made += [_by_dice(f"{name}: ways by dice, one death", some_ways, name, DICE) for name in map(_name, OTHERS)]
    short = [shape.__name__ for shape in (linear, *CHANGES) if shape not in TOO_LONG]
    found = dict(zip(short, pool.map(all_ways, short), strict=True))
    made += [_deployments(old, CHANGES if old is linear else [linear], found) for old in (linear, *CHANGES)]
    return made + [_by_dice(f"{name}: chaos", chaos, name, CHAOS) for name in ("linear of 3", *map(_name, OTHERS))]


def _linear(pool: ProcessPoolExecutor, steps: int, deaths: int) -> Part:
    name = f"linear of {steps}"
    found = [way for some in pool.map(ways_from, [name] * len(FIRST_OPTIONS), FIRST_OPTIONS) for way in some]
    Random(steps).shuffle(found)
    title = f"{name}: every way, {'one death' if deaths == 1 else 'up to two deaths'}"
    at_once = AT_ONCE if deaths == 1 else 1  # two deaths make thousands of runs of a way
    return Part(title, every_way, [Unit(name, deaths, ways=some) for some in _cut(found, at_once)])


def _deployments(old: Shape, new: Sequence[Shape], found: Mapping[str, Sequence[Way]]) -> Part:
    title = f"{old.__name__}: deployment of {_name(new[0]) if len(new) == 1 else f'each of {len(new)} changes'}"
    deployed = [shape.__name__ for shape in new]
    if old.__name__ not in found:
        units = [Unit(old.__name__, 1, seeds=some, deployed=deployed) for some in _cut(range(DICE), AT_ONCE)]
        return Part(f"{title}, ways by dice", deployments, units)
    units = [
        Unit(old.__name__, 1, ways=some, deployed=deployed) for some in _cut(found[old.__name__], AT_ONCE // len(new))
    ]
    return Part(f"{title}, every way", deployments, units)


def _by_dice(title: str, work: Callable[[Unit], Tally], name: str, seeds: int) -> Part:
    return Part(title, work, [Unit(name, 1, seeds=some) for some in _cut(range(seeds), AT_ONCE)])


def _name(shape: Shape) -> str:
    return shape.__name__


def _cut(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (things[start : start + size] for start in range(0, len(things), size))


# ── Doing it ─────────────────────────────────────────────────────────────────────────────────────────────


def torture(
    pool: ProcessPoolExecutor, todo: list[Part], processes: int, until: float, tried: Callable[[int], object]
) -> None:
    """Try all parts in turn, a unit of each, until all is done or the time is over."""
    waiting = (
        (part, unit)
        for row in zip_longest(*(part.units for part in todo))
        for part, unit in zip(todo, row, strict=True)
        if unit
    )
    under_way: dict[Future[Tally], tuple[Part, Unit]] = {}
    while True:
        while len(under_way) < processes * 2 and time.monotonic() < until and (found := next(waiting, None)):
            under_way[pool.submit(found[0].work, found[1])] = found
        if not under_way:
            return
        for done in wait(under_way, return_when=FIRST_COMPLETED).done:
            part, unit = under_way.pop(done)
            part.tally.add(done.result())
            part.tried += unit.size
            tried(unit.size)


def table(todo: list[Part]) -> Table:
    """What was done, a line for each part, and the sum."""
    shown = Table(
        "in virtual time", "ways tried", "of", "runs", "crashes", "completed", "compensated", "failed", "violations"
    )
    total = Part("all", every_way, [])
    for part in todo:
        total.tally.add(part.tally)
        shown.add_row(part.title, f"{part.tried:,}", f"{part.size:,}", *_counts(part.tally))
    shown.add_section()
    tried, size = (sum(numbers) for numbers in zip(*((part.tried, part.size) for part in todo), strict=True))
    shown.add_row("all", f"{tried:,}", f"{size:,}", *_counts(total.tally))
    return shown


def _counts(tally: Tally) -> list[str]:
    ends = [tally.ends.get(end, 0) for end in ("COMPLETED", "COMPENSATED", "FAILED")]
    return [f"{number:,}" for number in (tally.runs, tally.crashes, *ends, len(tally.violations))]


def run_simulated(processes: int, until: float, progress: Progress) -> tuple[Table, list[str]]:
    """Run all of it, or what fits into the time; the table, and what is wrong.

    Args:
        processes: How many work at the same time.
        until: When to stop, by the monotonic clock, in seconds.
        progress: Where to show how far it is.
    """
    task = progress.add_task("looking for the ways", total=None)
    with ProcessPoolExecutor(processes, initializer=quiet) as pool:
        todo = parts(pool)
        progress.update(task, description="ways tried", total=sum(part.size for part in todo))
        torture(pool, todo, processes, until, lambda size: progress.advance(task, size))
    return table(todo), [violation for part in todo for violation in part.tally.violations]
