"""Read sagas and the log: `saga-es list`, `show`, `diff`, `events`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click
from sqlalchemy.engine import Connection

from saga_es.cli import output
from saga_es.cli.filters import FILTERS
from saga_es.cli.options import NOT_FOUND, USAGE, as_json_option, fail, reading, settings_options
from saga_es.errors import SagaArchived
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.node.waiting import waits_for
from saga_es.store.log.tail import follow as follow_log
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import Page, page
from saga_es.store.queries.past import story_at, views_at
from saga_es.store.views.kinds import Views
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view


@click.command("list", short_help="List sagas, newest first.")
@settings_options(
    *FILTERS,
    click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="The most rows."),
    click.option("--cursor", help="Continue after the page that printed this cursor."),
    click.option("--at", type=click.IntRange(min=0), metavar="POSITION", help="The list at this position of the log."),
    as_json_option,
)
def list_(settings: Settings, limit: int, cursor: str | None, at: int | None, as_json: bool, **wanted: Any) -> None:
    """List the sagas that meet all filters, newest first.

    --at folds the log up to the position: a second for some 30,000 events. `saga-es events` shows positions.
    """
    chosen = sagas_where(SagaFilter(**wanted), datetime.now(UTC))
    with reading(settings) as node, _views(node, at) as connection:
        found = page(connection, chosen, limit, cursor)
        while len(found.rows) < limit and found.next_cursor:  # when few match, one page does not search the whole list
            more = page(connection, chosen, limit - len(found.rows), found.next_cursor)
            found = Page([*found.rows, *more.rows], more.next_cursor)
        wanted_code = waits_for(node.store, found.rows, node.code) if at is None else {}
    output.show_list(found, wanted_code, as_json=as_json)


def _views(node: Node, at: int | None) -> AbstractContextManager[Connection]:
    if at is None:
        return node.database.reading()
    return views_at(node.store.log, Views([saga_view, tag_view]), at)


@click.command()
@settings_options(
    click.argument("saga_id", metavar="ID"),
    click.option("--at", type=click.IntRange(min=1), metavar="VERSION", help="The saga after this many events."),
    as_json_option,
)
def show(settings: Settings, saga_id: str, at: int | None, as_json: bool) -> None:
    """Show one saga: its steps, and its events in sentences."""
    with reading(settings) as node:
        story, history = story_at(node.store.sagas, saga_id, at)
    output.show_story(story, history, as_json=as_json)


@click.command()
@settings_options(
    click.argument("saga_id", metavar="ID"),
    click.argument("first", metavar="V1", type=click.IntRange(min=1)),
    click.argument("second", metavar="V2", type=click.IntRange(min=1)),
    as_json_option,
)
def diff(settings: Settings, saga_id: str, first: int, second: int, as_json: bool) -> None:
    """Show what changed in a saga from V1 to V2.

    The output has the changes from version V1 to version V2, and the events in between.

    A version is a number of events: `saga-es show ID` counts them. The exit code is 0 whether anything changed or not.
    """
    if first > second:
        fail(f"{first} {second}: the earlier version comes first", USAGE)
    with reading(settings) as node:
        after, history = story_at(node.store.sagas, saga_id, second)
        before, _ = story_at(node.store.sagas, saga_id, first)
    output.show_difference(before, after, history[first:], as_json=as_json)


@click.command()
@settings_options(
    click.argument("saga_id", metavar="[ID]", required=False),
    click.option("--follow", is_flag=True, help="Also print new events as they come; Ctrl-C stops."),
    click.option(
        "--after", type=click.IntRange(min=0), default=0, metavar="POSITION", help="Only events after this position."
    ),
    click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; may be repeated."),
    click.option("--limit", type=click.IntRange(min=1), metavar="NUMBER", help="The most events, then stop."),
    as_json_option,
)
def events(
    settings: Settings,
    saga_id: str | None,
    follow: bool,
    after: int,
    types: tuple[str, ...],
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the events of one saga or record, or the whole log.

    Each line begins with the position of its event: --after the last one that was seen goes on from there. --follow
    passes no position that a running transaction may still fill.
    """
    with reading(settings) as node:
        if saga_id is not None and not follow and not node.store.log.entries(saga_id, limit=1):
            absent = node.store.sagas.absent(saga_id)
            if isinstance(absent, SagaArchived):
                raise absent
            fail(f"the log holds nothing under the id {saga_id!r}", NOT_FOUND)
        log = node.store.log
        found = follow_log(node.database, log, saga_id, after=after) if follow else log.walk(saga_id, after)
        asked = (entry for entry in found if not types or entry.type in types)
        try:
            for entry in islice(asked, limit):
                output.show_entry(entry, as_json=as_json)
        except KeyboardInterrupt:
            return
