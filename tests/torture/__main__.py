"""Torture: `make torture`. Every way in virtual time, and then processes that are killed for real.

With a budget the first half of the time goes to the simulator, the second to the kills.
"""

from __future__ import annotations

import logging
import os
import sys
import time

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.simulation.every_way import quiet
from tests.torture.real import PARTS, run_real
from tests.torture.simulated import run_simulated

MOST_SHOWN = 5
WIDTH = 170
"""Of the tables in a file or a pipe, which has none of its own."""

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


@click.command()
@click.option("--minutes", type=float, help="Stop after so long; without it, when all is done.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True, help="How many work at the same time.")
@click.option("--only", type=click.Choice(["simulated", "real"]), help="One half of it; both without it.")
@click.option("--kills", default=4000, show_default=True, help="Kills in all, for the second half.")
@click.option("--part", "words", multiple=True, help="Kill in the parts whose names hold this; may be repeated.")
def main(minutes: float | None, processes: int, only: str | None, kills: int, words: tuple[str, ...]) -> None:
    """Run sagas in every way with every death, then kill real processes; exit 1 if a promise was broken."""
    quiet()
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # connections are cut on purpose
    began = time.monotonic()
    budget_s = float("inf") if minutes is None else minutes * 60
    console, found = Console(width=None if sys.stdout.isatty() else WIDTH), []
    with Progress(*COLUMNS, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        tables = []
        if only != "real":
            until = began + budget_s / (1 if only else 2)
            table, violations = run_simulated(processes, until, progress)
            tables.append(table)
            found += violations
        if only != "simulated":
            chosen = [part for part in PARTS if not words or any(word in part.title for word in words)]
            table, violations = run_real(chosen, kills, began + budget_s, progress)
            tables.append(table)
            found += violations
    for table in tables:
        console.print(table)
    for violation in found[:MOST_SHOWN]:
        console.print(violation, markup=False)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
