"""The report of a run: its rows in the terminal and in the docs, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.row import Row
from benchmarks.servers import PROJECT

RESULTS = PROJECT / "docs" / "performance.json"
PAGE = PROJECT / "docs" / "performance.md"
PLOT = PROJECT / "docs" / "performance.svg"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
_MET = {True: "yes", False: "no", None: "—"}
_STYLE = {True: "green", False: "red", None: "yellow"}


class Run(msgspec.Struct, frozen=True):
    """One run: its conditions, its command, and its rows."""

    about: Mapping[str, str]
    command: str
    rows: Sequence[Row]


def print_table(rows: Iterable[Row], console: Console) -> None:
    """Print the rows as a table."""
    table = Table(title="saga_es, measured side by side")
    for heading in ("what", "saga_es", "peer", "measured", "target", "met"):
        table.add_column(heading, justify="left" if heading == "what" else "right", overflow="fold")
    for row in rows:
        met = f"[{_STYLE[row.met]}]{_MET[row.met]}[/]"
        what = f"{row.what} [yellow]({row.note})[/]" if row.note else row.what
        table.add_row(what, row.ours, row.peer or "", row.measured, row.wanted, met)
    console.print(table)


def write(run: Run, results: Path = RESULTS) -> None:
    """Write the run as JSON."""
    text: Any = msgspec.json.format(msgspec.json.encode(run), indent=1)
    results.write_bytes(text + b"\n")


def read(results: Path = RESULTS) -> Run:
    """Read the run that was written last."""
    return msgspec.json.decode(results.read_bytes(), type=Run)


def refresh(run: Run, page: Path = PAGE) -> None:
    """Write the table into the page, between its two marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{_markdown(run)}\n{END}{after}")


def _markdown(run: Run) -> str:
    lines = ["| what | saga_es | peer | measured | target | met |", "|---|---|---|---|---|---|"]
    for row in run.rows:
        what = f"{row.what} ({row.note})" if row.note else row.what
        what = what.replace("|", r"\|")
        lines.append(f"| {what} | {row.ours} | {row.peer or ''} | {row.measured} | {row.wanted} | {_MET[row.met]} |")
    about = ". ".join(run.about[name] for name in ("machine", "date", "busy", "sqlite", "postgresql", "packages"))
    figure = f"![sagas a second: the engine and its peers]({PLOT.name})"
    return "\n".join([*lines, "", f"`{run.command}`. Python {run.about['python']}. {about}.", "", figure])
