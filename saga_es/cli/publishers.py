"""`saga-es publishers`."""

from __future__ import annotations

from typing import NoReturn

import click
from rich.table import Table

from saga_es.cli.options import NOT_FOUND, USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.terminal import cell, print_json, say, screen
from saga_es.node.settings import Settings
from saga_es.store.publishers import PublisherRow, Publishers


@click.command(short_help="Show who is told about events, and how far; tell again, or forget one.")
@settings_options(
    click.argument("name", metavar="[NAME]", required=False),
    click.option(
        "--after", type=click.IntRange(min=0), metavar="POSITION", help="Tell NAME everything after it again."
    ),
    click.option(
        "--forget", is_flag=True, help="Forget NAME, whose target is no more: archiving waits for it until then."
    ),
    as_json_option,
)
def publishers(settings: Settings, name: str | None, after: int | None, forget: bool, as_json: bool) -> None:
    """Show who is told about events: functions of the application (`App(on_event=)`), webhooks and brokers.

    A function or a webhook begins where the log ends when it is first there, a broker at the log's beginning. What has
    not been told yet is the lag.
    """
    if (after is not None or forget) and name is None:
        fail("name the publisher; without a name, `saga-es publishers` shows those there are", USAGE)
    with reading(settings) as node:
        rows = Publishers(node.database)
        if name is not None and name not in {row.name for row in rows.all()}:
            _unknown(name, rows.all())
        if forget:
            rows.forget(name or "")
            say(f"{name} is forgotten; a process that still has its target begins it anew, at the end of the log")
        elif after is not None:
            rows.move(name or "", after)
            say(f"{name} is told everything after position {after}")
        else:
            _show([row for row in rows.all() if name in {None, row.name}], as_json=as_json)


def _unknown(name: str, rows: list[PublisherRow]) -> NoReturn:
    there = ", ".join(repr(row.name) for row in rows) or "none"
    fail(f"there is no publisher {name!r}; there are: {there}", NOT_FOUND)


def _show(rows: list[PublisherRow], *, as_json: bool) -> None:
    if as_json:
        print_json({"publishers": [_json(row) for row in rows]})
        return
    table = Table("name", "position", "lag", "told by", "last error")
    for row in rows:
        table.add_row(
            cell(row.name),
            str(row.position),
            str(row.lag),
            cell(row.held.holder or "nobody"),
            cell(row.held.error or ""),
        )
    screen().print(table)


def _json(row: PublisherRow) -> dict[str, object]:
    return {
        "name": row.name,
        "position": row.position,
        "lag": row.lag,
        "holder": row.held.holder,
        "error": row.held.error,
        "updated_at": row.updated_at,
    }
