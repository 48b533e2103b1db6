"""The cost of a saga by itself: the loop on the only thread of a process, with calls that are answered at once.

    python -m benchmarks.alone                                                     # a table, in half a minute
    py-spy record -r 500 -o saga.svg -- python -m benchmarks.alone sqlite --under-way 64 --seconds 15

No thread competes for the interpreter, and none waits for a disk: SQLite's file is in memory if there is /dev/shm, and
the time of the PostgreSQL server is not counted. So this is the least processor time of a saga. One second divided by
it is the most sagas a second that a process can run, whatever its disk and its threads do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.contenders.work import INPUT, trip
from benchmarks.databases import fresh
from saga_es.node.app import App
from saga_es.node.gc import look_less_often
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.calls.caller import Awaited, Caller
from saga_es.runtime.calls.port import Call, Returned
from saga_es.runtime.handle import Handle
from saga_es.runtime.ids import new_id
from saga_es.runtime.inbox import StartRequest
from saga_es.runtime.waiting.clock import SharedClock
from saga_es.runtime.worker import Worker
from saga_es.store.admin import migrate

STORAGES = {"nothing": "nothing is stored", "sqlite": "SQLite, in memory", "postgresql": "PostgreSQL"}
IN_MEMORY = Path("/dev/shm")  # noqa: S108 (for a temporary folder)
ROUNDS = 5


class AtOnce:
    """An executor that makes each call on the thread that asks for it."""

    def __init__(self) -> None:
        self._caller = Caller()

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Make the calls one after the other."""
        for call in calls:
            outcome = self._caller.answer(call)
            match outcome:
                case Awaited():
                    raise AssertionError("no step here is asynchronous")
                case _:
                    call.is_back = True
                    returned(call, outcome)
        return []

    def cancel(self, call: Call) -> None:
        """Nothing: no call is under way."""

    def capacity_of(self, definition: str) -> int:
        """Always enough."""
        del definition
        return 1000

    def is_crowded(self, definition: str) -> bool:
        """Never."""
        del definition
        return False

    def turn_of(self, call: Call) -> None:
        """No call waits for its turn."""

    def waiting_of(self, definition: str) -> tuple[int, int]:
        """Nothing waits for a thread."""
        del definition
        return 0, 1

    def left_s(self, call: Call) -> float:
        """Nothing is ever late."""
        return call.timeout_s

    def goes_on(self, call: Call) -> bool:
        """Nothing is ever late."""
        del call
        return True

    def give_up(self, call: Call) -> bool:
        """It is over already."""
        del call
        return True

    def close(self) -> None:
        """Nothing is kept."""


class Alone:
    """A worker without a thread of its own."""

    def __init__(self, url: str, *, stores: bool) -> None:
        self._node = node = Node(Settings.load({"database_url": url}), App(name="alone", version="0", sagas=(trip,)))
        migrate.upgrade(node.database, node.store.log, node.views)
        self._loop = Worker(node.store, AtOnce(), SharedClock(node.store.workers.now_s), (trip,))
        self._inbox = self._loop.inbox
        self._loop.begin_work()
        if not stores:
            node.database.transact = _store_nothing  # type: ignore[method-assign, assignment]  # everything before the commit is done

    def run(self, under_way: int, seconds: float) -> float:
        """Run sagas for a time; returns the microseconds of processor time for each.

        Args:
            under_way: How many sagas run at the same time.
            seconds: How long sagas are started.
        """
        began, until, cpu = 0, time.monotonic() + seconds, time.thread_time()
        while time.monotonic() < until:
            began += self._begin(under_way - self._loop.active)
            self._loop.iterate(self._inbox.take(0))
        self._finish()
        return (time.thread_time() - cpu) / began * 1e6

    def run_many(self, sagas: int, under_way: int) -> None:
        """Run so many sagas, some of them at the same time."""
        active = self._loop._owned.awake  # noqa: SLF001 (asked directly, so that this adds little to what is counted)
        while sagas or active:
            if sagas and len(active) < under_way:
                sagas -= self._begin(min(sagas, under_way - len(active)))
            self._loop.iterate(self._inbox.take(0))

    def rest(self) -> None:
        """Run no chores from now on: how many there are depends on the time that all else takes."""
        timers = self._loop._chores._timers  # noqa: SLF001 (no worker is asked to do without)
        for kind in list(timers._items):  # noqa: SLF001
            timers.cancel(kind)

    def close(self) -> None:
        """Close the connections to the database."""
        self._node.database.close()

    def _begin(self, many: int) -> int:
        for _ in range(many):
            handle = Handle(new_id())
            self._inbox.put(StartRequest(handle.saga_id, trip, INPUT, handle))
        return many

    def _finish(self) -> None:
        while self._loop.active:
            self._loop.iterate(self._inbox.take(0))


def _store_nothing(_writes: Sequence[Any]) -> None:
    """Store nothing, in place of a commit."""


@click.command(help=__doc__)
@click.argument("storages", nargs=-1, type=click.Choice(list(STORAGES)))
@click.option("--under-way", multiple=True, type=int, default=(64, 8, 1), show_default=True, help="Sagas at a time.")
@click.option("--seconds", type=float, default=0.6, show_default=True, help="For each of five rounds.")
def main(storages: Sequence[str], under_way: Sequence[int], seconds: float) -> None:
    """Measure the storages in turn, and print the medians."""
    look_less_often()
    chosen = storages or tuple(STORAGES)
    took: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        in_memory = IN_MEMORY if IN_MEMORY.is_dir() else None
        loops = {}
        for name in chosen:
            url = stack.enter_context(fresh("postgresql" if name == "postgresql" else "sqlite", in_memory))
            loops[name] = Alone(url, stores=name != "nothing")
        for _ in range(ROUNDS + 1):
            for name, loop in loops.items():
                for many in under_way:
                    took.setdefault((name, many), []).append(loop.run(many, seconds))
    table = Table(title="microseconds of processor time for a saga, and the most sagas a second")
    table.add_column("under way")
    for many in under_way:
        table.add_column(f"{many}", justify="right")
    for name in chosen:
        cells = [median(took[name, many][1:]) for many in under_way]
        table.add_row(STORAGES[name], *(f"{us:,.0f} us  {1e6 / us:,.0f}/s" for us in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
