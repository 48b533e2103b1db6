"""What the commands print: tables and stories for people, JSON for machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from saga_es.core.events import (
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    SagaAborted,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    SagaStarted,
    SagaTakenOver,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from saga_es.store.log import Entry, Recorded
from saga_es.store.pages import Page
from saga_es.store.saga_view import summary
from saga_es.store.story import SagaStory

_COLOURS = {
    "COMPLETED": "green",
    "COMPENSATED": "yellow",
    "COMPENSATING": "yellow",
    "FAILED": "red",
    "IN_PROGRESS": "cyan",
    "PENDING": "cyan",
}
_SHORT = 100


def show_list(page: Page, *, as_json: bool) -> None:
    """A page of sagas."""
    if as_json:
        _json({"transactions": [summary(row) for row in page.rows], "next_cursor": page.next_cursor})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "name", "status", "step", "started"):
        table.add_column(column, no_wrap=True)
    table.add_column("error", overflow="ellipsis", no_wrap=True)
    for row in page.rows:
        table.add_row(
            row["saga_id"],
            Text(row["name"]),
            _status(row["status"]),
            row["current_step"] or "",
            _time(row["created_at"]),
            Text(_short(row["error"])),
        )
    console = _console()
    console.print(table if page.rows else "No sagas.")
    if page.next_cursor:
        Console(stderr=True).print(f"More with --cursor {page.next_cursor}", soft_wrap=True)


def show_story(story: SagaStory, history: Sequence[Recorded], *, as_json: bool) -> None:
    """One saga: what it is, its steps, and what happened, in sentences."""
    if as_json:
        _json(story)
        return
    console = _console()
    console.print(Text.assemble((story.name, "bold"), "  ", story.transaction_id, "  "), _status(story.status))
    if story.error:
        console.print(Text.assemble(("why  ", "dim"), story.error))
    steps = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("step", "status", "attempts", "undo attempts", "result"):
        steps.add_column(column)
    for step in story.steps:
        result = "" if step.result is None else msgspec.json.encode(step.result).decode()
        undo = str(step.compensation_attempts or "")
        steps.add_row(step.step, _status(step.status), str(step.attempts or ""), undo, Text(_short(result)))
    console.print(steps)
    console.print()
    for recorded in history:
        version = f"{recorded.version:>3}  "
        console.print(
            Text.assemble((version, "dim"), (_time(recorded.recorded_at) + "  ", "dim"), tell(recorded.event))
        )


def show_entry(entry: Entry, *, as_json: bool) -> None:
    """One row of the log, on one line."""
    if as_json:
        row = {**msgspec.structs.asdict(entry), "data": msgspec.Raw(entry.text.encode())}
        del row["text"]
        _json(row)
        return
    where = f"{entry.category}/{entry.stream_id}@{entry.version}"
    click.echo(f"{entry.position:>8}  {_time(entry.recorded_at)}  {where}  {entry.type} {entry.text}")


def show_migration(found: str | None, head: str, *, as_json: bool) -> None:
    """The migration a database is at."""
    if as_json:
        _json({"current": found, "head": head})
    else:
        click.echo(found or "none")


def tell(event: Any) -> str:  # noqa: C901, PLR0911, PLR0912 (a table: one sentence an event)
    """An event as a sentence."""
    match event:
        case SagaStarted(saga, worker=None):
            return f"The saga {saga} was asked for, and waits for a worker."
        case SagaStarted(saga, worker=worker):
            return f"The saga {saga} began, on {worker}."
        case SagaTakenOver(worker, None):
            return f"{worker} took it."
        case SagaTakenOver(worker, previous):
            return f"{worker} took it over, because {previous} is gone."
        case StepStarted(step, 1):
            return f"Step {step} is called."
        case StepStarted(step, attempt):
            return f"Step {step} is called again: attempt {attempt}."
        case StepCompleted(step, result):
            return f"Step {step} is done: {_short(msgspec.json.encode(result).decode())}"
        case StepFailed(step, attempt, failure, error, None):
            return f"Step {step} failed for good at attempt {attempt} ({failure}): {error}"
        case StepFailed(step, attempt, failure, error, retry_at):
            return f"Step {step} failed at attempt {attempt} ({failure}), next try at {_time(retry_at)}: {error}"
        case SagaAborted(step):
            return f"The saga turns round because of step {step}: what was done is undone, last first."
        case CompensationStarted(step, 1):
            return f"Step {step} is being undone."
        case CompensationStarted(step, attempt):
            return f"Step {step} is being undone again: attempt {attempt}."
        case CompensationCompleted(step):
            return f"Step {step} is undone."
        case CompensationFailed(step, attempt, failure, error, None):
            return f"Undoing step {step} failed for good at attempt {attempt} ({failure}): {error}"
        case CompensationFailed(step, attempt, failure, error, retry_at):
            return (
                f"Undoing step {step} failed at attempt {attempt} ({failure}), next try at {_time(retry_at)}: {error}"
            )
        case SagaCompleted():
            return "The saga is complete: every step is done."
        case SagaCompensated():
            return "The saga is compensated: everything that was done is undone."
        case SagaFailed(reason):
            return f"The saga stopped and needs a person: {reason}"
        case other:
            return f"{type(other).__name__} {msgspec.json.encode(other).decode()}"


def _console() -> Console:
    """A pipe has no width: nothing is cut there, so that what is printed can be searched."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=250)


def _status(status: str) -> Text:
    return Text(str(status), style=_COLOURS.get(str(status), ""))


def _time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03}Z"


def _short(text: str | None) -> str:
    if not text:
        return ""
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def _json(value: Any) -> None:
    click.echo(msgspec.json.encode(value))
