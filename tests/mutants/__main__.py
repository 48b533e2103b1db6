"""Plant known bugs, each in a copy of the tree, and see that the tests find every one: `make mutants`.

A suite that is green proves nothing as long as nobody knows what turns it red. Each mutant re-introduces a failure
that engines like this one have had. Its tests are stopped at the first red one, which is the one that the table names.
The tree itself is never touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.mutants import (
    of_real_faults,
    of_the_calls,
    of_the_core,
    of_the_shell,
    of_the_store,
    of_the_troubles,
    of_the_walls,
)
from tests.mutants.mutant import Mutant
from tests.mutants.unplanted import unplanted

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = [
    *of_the_core.MUTANTS,
    *of_the_shell.MUTANTS,
    *of_the_calls.MUTANTS,
    *of_the_store.MUTANTS,
    *of_the_troubles.MUTANTS,
    *of_the_walls.MUTANTS,
    *of_real_faults.MUTANTS,
]
COPIED = ("saga_es", "services", "migrations", "tests", "pyproject.toml", "alembic.ini")
TIMEOUT_S = 120.0
"""A bug that makes the tests hang is found, too; after so long."""

COULD_RUN = (0, 1)
"""How pytest exits when it ran tests: all green, or some red. Anything else is a mistake in the mutant."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: the test that found it; None if none did."""

    mutant: Mutant
    killed_by: str | None
    seconds: float
    output: str


def judge(mutant: Mutant) -> Verdict:
    """Plant a bug in a copy of the tree, and run the tests that should find it.

    Raises:
        LookupError: Its place is not in the code any more.
        RuntimeError: The tests could not be run.
    """
    began = time.monotonic()
    with TemporaryDirectory(prefix="saga-es-mutant-") as folder:
        tree = Path(folder)
        _copy(tree)
        place = tree / mutant.file
        place.write_text(mutant.planted(place.read_text()))
        killed_by, output = _run(mutant, tree)
    return Verdict(mutant, killed_by, time.monotonic() - began, output)


def _copy(tree: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name)  # with what was compiled: it holds as long as its source is as old
        else:
            shutil.copy2(source, tree / name)


def _run(mutant: Mutant, tree: Path) -> tuple[str | None, str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider"]
    only = ["-k", mutant.databases]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tree)}
    try:
        done = subprocess.run(
            [*command, *only, *mutant.tests],
            cwd=tree,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        return f"the tests do not come to an end within {TIMEOUT_S:g} s", str(error.stdout)
    if done.returncode not in COULD_RUN:
        raise RuntimeError(f"mutant {mutant.name!r}: {done.stdout}{done.stderr}")
    red = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - |$)", done.stdout, flags=re.MULTILINE)
    return (red[1].rpartition("tests/")[2] if red else None), done.stdout


def table(verdicts: list[Verdict]) -> Table:
    """The verdicts, for people."""
    shown = Table("mutant", "killed by", "seconds", title="Planted bugs")
    for verdict in verdicts:
        shown.add_row(
            verdict.mutant.name,
            escape(verdict.killed_by) if verdict.killed_by else "[red]SURVIVED[/red]",
            f"{verdict.seconds:.1f}",
        )
    return shown


def without() -> str:
    """The functions that handle trouble and have no planted bug, for people: a line for each module."""
    found = unplanted(ROOT, MUTANTS)
    lines = [f"  {module}: {', '.join(names)}" for module, names in found.items()]
    count = sum(map(len, found.values()))
    return "\n".join([f"{count} functions catch an error and have no planted bug:", *lines])


@click.command()
@click.argument("words", nargs=-1)
@click.option("--at-once", default=os.cpu_count() or 1, show_default=True, help="How many are tried at the same time.")
@click.option("--list", "only_list", is_flag=True, help="Name them, and try none.")
@click.option("--show", is_flag=True, help="Print what the tests said of those that survived.")
def main(words: tuple[str, ...], at_once: int, *, only_list: bool, show: bool) -> None:
    """Try all planted bugs, or those whose names hold one of these WORDS; exit 1 if one survives."""
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    if only_list:
        click.echo("\n".join(mutant.name for mutant in chosen))
        return
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, ThreadPoolExecutor(at_once) as pool:
        task = progress.add_task("planted bugs", total=len(chosen))
        verdicts = []
        for verdict in pool.map(judge, chosen):
            verdicts.append(verdict)
            progress.advance(task)
    console.print(table(verdicts))
    survivors = [verdict for verdict in verdicts if verdict.killed_by is None]
    if show:
        for verdict in survivors:
            console.print(verdict.mutant.name, verdict.output, markup=False)
    console.print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} planted bugs were found")
    if not words:
        console.print(without(), markup=False)
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
