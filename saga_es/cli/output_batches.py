"""The output of `saga-es batch`: lines and tables for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from saga_es.cli.terminal import cell, print_json, say, screen
from saga_es.core.describe import moment
from saga_es.runtime.command_batches.batches import Progress
from saga_es.runtime.command_batches.selection import Selection


def show_selection(found: Selection, command: str, *, as_json: bool) -> None:
    """Print what a batch would hit."""
    count = len(found.saga_ids)
    if as_json:
        about = {"left_out": found.left_out, "is_complete": found.is_complete}
        print_json({"count": count, "sample": found.sample, **about})
        return
    more = "" if found.is_complete else ", the newest; more meet the filter"
    say(f"`{command}` would be given to {count:,} sagas{more}. Nothing was done.")
    if found.left_out:
        say(f"{found.left_out:,} others meet the filter, but cannot follow the command.")
    if not count:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "saga", "status", "changed", "error"):
        table.add_column(column, no_wrap=column in {"id", "status"})
    for row in found.sample:
        about_it = (row.transaction_id, row.name, row.status, moment(row.updated_at), row.error or "")
        table.add_row(*map(cell, about_it))
    screen().print(table)
    say(f"To start it, add --sagas {count}.")


def show_started(batch_id: str, count: int, *, as_json: bool) -> None:
    """Print the id of a batch that was started."""
    if as_json:
        print_json({"batch_id": batch_id, "count": count})
        return
    say(f"Started batch {batch_id} for {count:,} sagas. `saga-es batch show {batch_id}` says how far it is.")


def show_batches(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print the newest batches."""
    if as_json:
        print_json({"batches": rows})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "command", "status", "done", "of", "started", "by", "reason"):
        table.add_column(column, no_wrap=column in {"id", "status"})
    for row in rows:
        done = (f"{row['upto']:,}", f"{row['size']:,}", moment(row["created_at"]))
        words = (row["batch_id"], row["command"], row["status"], *done, row["actor"], row["reason"])
        table.add_row(*map(cell, words))
    screen().print(table)


def show_progress(found: Progress, *, as_json: bool) -> None:
    """Print how far a batch is."""
    if as_json:
        print_json(found)
        return
    say(f"{found.command} for {found.count:,} sagas, {found.status}. {found.actor}: {found.reason}")
    say(
        f"{found.moved_on:,} moved on, {found.failed_again:,} failed again, {found.left_alone:,} left alone, "
        f"{found.to_go:,} to go"
    )
    if found.stopped_by:
        say(f"Stopped by {found.stopped_by}: {found.stopped_because}")
