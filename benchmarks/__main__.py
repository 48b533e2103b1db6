"""All benchmarks: `make bench`, about twenty minutes; `make bench QUICK=1`, about four.

Progress goes to stderr, the table to stdout. A whole run that measured every row also writes docs/performance.json,
.svg and the table of docs/performance.md; a partial or quick run writes none of them. Ctrl-C ends a run with the rows
measured so far. The exit code is 1 if a row was not measured.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.effort import QUICK, Effort
from benchmarks.machine import about
from benchmarks.row import Row
from benchmarks.rows import console, http, many, publishing, replay, requests, size, throughput

Measure = Callable[[Effort], Iterator[Row]]

ROWS: dict[str, Measure] = {
    "dbos": throughput.against_dbos,
    "raw": throughput.against_raw_batches,
    "latency": throughput.latency,
    "twin": throughput.failing_twin,
    "counting": throughput.counting,
    "lines": throughput.lines,
    "http": http.execute,
    "workers": throughput.two_workers,
    "interrupted": many.interrupted,
    "replay": replay.replay,
    "publishing": publishing.publishing,
    "published": publishing.cost,
    "size": size.big_log,
    "console": console.pages,
    "waiting": many.waiting,
    "requests": requests.requests,
    "start": http.start_up,
    "idle": http.idle,
}


def _help() -> str:
    rows = [f"  {name:<12} {(inspect.getdoc(measure) or '').splitlines()[0]}" for name, measure in ROWS.items()]
    return "\n".join([__doc__ or "", "\b", "ROWS (all if left out):", *rows])


@click.command(help=_help(), context_settings={"max_content_width": 160})
@click.argument("names", metavar="[ROWS]...", nargs=-1, type=click.Choice(list(ROWS)))
@click.option("--quick", is_flag=True, help="Fewer and shorter rounds, smaller logs: to see that everything runs.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--again", is_flag=True, help="Measure nothing: write docs/performance.md and .svg from the JSON.")
def main(names: tuple[str, ...], quick: bool, file: Path | None, again: bool) -> None:  # noqa: FBT001 (flags)
    """Measure, print, write."""
    if again:
        _publish(report.read())
        return
    where = about()
    rows: list[Row] = []
    is_over = False
    try:
        _measure(names or tuple(ROWS), QUICK if quick else Effort(), rows)
        is_over = True
    except KeyboardInterrupt:
        click.echo("stopped; this is what was measured", err=True)
    run = report.Run(where, "make bench", rows)
    report.print_table(rows, Console(width=None if Console().is_terminal else 160))
    if file is not None:
        report.write(run, file)
    if not is_over or any(row.value is None for row in rows):
        sys.exit(1)
    if not names and not quick:
        report.write(run)
        _publish(run)


def _measure(names: tuple[str, ...], effort: Effort, rows: list[Row]) -> None:
    """Add each row as soon as it is measured."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for name in names:
            task, began = progress.add_task(name, total=1), time.monotonic()
            for row in _or_why_not(name, ROWS[name](effort)):
                rows.append(row)
                progress.console.print(f"{row.what}: {row.measured} (wanted {row.wanted}) {row.note}", markup=False)
            progress.update(task, completed=1, description=f"{name}: {time.monotonic() - began:.0f} s")


def _or_why_not(name: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows. If one cannot be measured, a row with the reason takes its place, and the run goes on."""
    try:
        yield from rows
    except Exception as error:  # noqa: BLE001 (an unattended run goes on after any error)
        yield Row(what=name, note=" ".join(f"{type(error).__name__}: {error}".split())[:300])


def _publish(run: report.Run) -> None:
    from benchmarks import plot  # noqa: PLC0415 (needs the extra `bench`, and a partial run works without it)

    report.refresh(run)
    plot.draw(run.rows, report.PLOT)


if __name__ == "__main__":
    main()
