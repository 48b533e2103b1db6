"""What a saga takes, counted instead of timed: function calls and instructions, which no busy machine changes.

    python -m benchmarks.counted                       # function calls, in seconds
    python -m benchmarks.counted --instructions        # and instructions, by valgrind: some minutes

The loop runs on the only thread of its process, as in `benchmarks.alone`, on SQLite. A function call is one of a
function of Python or of one built in, as `cProfile` counts them.
"""

from __future__ import annotations

import cProfile
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import click
from rich.console import Console
from rich.table import Table

from benchmarks.alone import IN_MEMORY, Alone
from benchmarks.contender import Unable
from benchmarks.databases import fresh

SAGAS = {64: 192, 8: 40, 1: 20}
"""How many sagas are counted, by how many of them are under way."""

_TOTAL = re.compile(r"Collected : (\d+)")


def calls_of(act: Callable[[], object]) -> int:
    """How many functions are called while this acts."""
    profile = cProfile.Profile()
    profile.runcall(act)
    return sum(entry.callcount for entry in profile.getstats())


@contextmanager
def _alone() -> Iterator[Alone]:
    with fresh("sqlite", IN_MEMORY if IN_MEMORY.is_dir() else None) as url, closing(Alone(url, stores=True)) as loop:
        yield loop


def calls_a_saga(under_way: int) -> float:
    """The function calls of one saga, when so many are under way; one of the keys of `SAGAS`."""
    sagas = SAGAS[under_way]
    with _alone() as loop:
        loop.run_many(2 * under_way, under_way)  # what is made once is made now
        loop.rest()
        return calls_of(lambda: loop.run_many(sagas, under_way)) / sagas


def instructions_a_saga(under_way: int) -> float:
    """The instructions of one saga, when so many are under way: those of twice as many sagas, less those of as many.

    Raises:
        Unable: There is no valgrind.
    """
    sagas = SAGAS[under_way]
    once, twice = (_instructions(many, under_way) for many in (sagas, 2 * sagas))
    return (twice - once) / sagas


def _instructions(sagas: int, under_way: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    script = "from benchmarks import counted; counted.run(*map(int, __import__('sys').argv[1:]))"
    try:
        done = subprocess.run(
            [*command, "-c", script, str(sagas), str(under_way)], capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise Unable("there is no valgrind") from error
    found = _TOTAL.search(done.stderr)
    if found is None:
        raise Unable("valgrind counted nothing")
    return int(found.group(1))


def run(sagas: int, under_way: int) -> None:
    """Run so many sagas on a database of their own."""
    with _alone() as loop:
        loop.run_many(sagas, under_way)


@click.command(help=__doc__)
@click.option("--instructions", is_flag=True, help="Count instructions, too.")
def main(*, instructions: bool) -> None:
    """Count, and print what was counted."""
    table = Table(title="what a saga takes, with so many under way, on SQLite")
    for head in ("", *(str(many) for many in SAGAS)):
        table.add_column(head, justify="right")
    table.add_row("function calls", *(f"{calls_a_saga(many):,.0f}" for many in SAGAS))
    if instructions:
        table.add_row("instructions, thousands", *(f"{instructions_a_saga(many) / 1000:,.0f}" for many in SAGAS))
    Console().print(table)


if __name__ == "__main__":
    main()
