"""Schedules: `saga-es schedule list`, `schedule pause`, `schedule resume`, `schedule trigger`. A worker keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click
from rich.table import Table

from saga_es.cli.actor import actor_option
from saga_es.cli.options import FAILURE, NOT_FOUND, as_json_option, fail, reading, settings_options
from saga_es.cli.terminal import cell, print_json, say, screen
from saga_es.core.describe import moment
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.schedules import Row, ScheduleRefused, Schedules

_NAME = click.argument("name", metavar="NAME")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; the log keeps it for ever.")


@click.group()
def schedule() -> None:
    """Schedules: list them, pause, resume, trigger one."""


@schedule.command("list", short_help="List the schedules of the application.")
@settings_options(as_json_option)
def list_(settings: Settings, as_json: bool) -> None:
    """List the schedules of the application: their rule, their next time, and the last saga that they started."""
    with reading(settings) as node:
        rows = node.schedules.rows(datetime.now(UTC))
    if as_json:
        print_json({"schedules": rows})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "rule", "zone", "saga", "next", "last", "saga of the last"):
        table.add_column(column, no_wrap=column in {"name", "saga of the last"})
    for row in rows:
        table.add_row(*map(cell, _line(row)))
    screen().print(table)


@schedule.command(short_help="Pause a schedule: nothing is started at its times.")
@settings_options(_NAME, _REASON, actor_option)
def pause(settings: Settings, name: str, reason: str, actor: str) -> None:
    """Pause a schedule: nothing is started at its times until it is resumed, nor made up for then."""
    with reading(settings) as node, _refused():
        _known(node, name).pause(name, actor, reason, datetime.now(UTC))
    say(f"Paused the schedule {name}.")


@schedule.command(short_help="Resume a schedule that is paused.")
@settings_options(_NAME, _REASON, actor_option)
def resume(settings: Settings, name: str, reason: str, actor: str) -> None:
    """Resume a schedule: its times from now on are kept."""
    with reading(settings) as node, _refused():
        _known(node, name).resume(name, actor, reason, datetime.now(UTC))
    say(f"Resumed the schedule {name}.")


@schedule.command(short_help="Start the saga of a schedule once, now.")
@settings_options(_NAME, _REASON, actor_option, as_json_option)
def trigger(settings: Settings, name: str, reason: str, actor: str, as_json: bool) -> None:
    """Start the saga of a schedule once, now, also while the schedule is paused. Its times stay as they are."""
    with reading(settings) as node:
        saga_id = _known(node, name).trigger(name, actor, reason, datetime.now(UTC))
    if as_json:
        print_json({"transaction_id": saga_id})
        return
    say(f"Started saga {saga_id}. A worker runs it.")


def _known(node: Node, name: str) -> Schedules:
    """The schedules, of which this is one; otherwise the command ends."""
    if name not in node.schedules.all:
        there = ", ".join(repr(known) for known in node.schedules.all) or "none: set --app"
        fail(f"there is no schedule {name!r}; there are: {there}", NOT_FOUND)
    return node.schedules


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except ScheduleRefused as error:
        fail(str(error), FAILURE)


def _line(row: Row) -> tuple[str, ...]:
    next_at = "paused" if row.paused else "never" if row.next_at is None else moment(row.next_at)
    last = ("", "") if row.last is None else (moment(row.last.due_at), row.last.saga_id)
    return (row.name, row.cron, row.tz, row.saga, next_at, *last)
