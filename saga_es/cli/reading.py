"""Reading: `saga-es list`, `show`, `events`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from saga_es import terminal
from saga_es.cli.filters import FILTERS
from saga_es.cli.options import NOT_FOUND, USAGE, as_json_option, fail, reading, settings_options
from saga_es.errors import NotFound
from saga_es.settings import Settings
from saga_es.store.filters import SagaFilter, sagas_where
from saga_es.store.pages import page
from saga_es.store.story import story


@click.command("list", short_help="List sagas, newest first.")
@settings_options(
    *FILTERS,
    click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Rows at most."),
    click.option("--cursor", help="Go on after the page that printed this cursor."),
    as_json_option,
)
def list_(settings: Settings, limit: int, cursor: str | None, as_json: bool, **wanted: Any) -> None:
    """List sagas, newest first; those of which all that is asked for holds.

    A status, a name, a tag and the ages are found through an index. --error, --paused and --parent look at one saga
    after the other until the page is full: ask for --status FAILED, too, where there are many.
    """
    chosen = sagas_where(SagaFilter(**wanted), datetime.now(UTC))
    with reading(settings) as node, node.database.reading() as connection:
        found = page(connection, chosen, limit, cursor)
    terminal.show_list(found, as_json=as_json)


@click.command()
@settings_options(
    click.argument("saga_id", metavar="ID"),
    click.option("--at", type=click.IntRange(min=1), metavar="VERSION", help="As it was after this many events."),
    as_json_option,
)
def show(settings: Settings, saga_id: str, at: int | None, as_json: bool) -> None:
    """Tell the story of one saga."""
    with reading(settings) as node:
        whole = node.log.read(saga_id)
        history = whole[:at]
        state = node.sagas.folded(history)
        if state is None:
            raise NotFound(saga_id)
        if at is not None and at > len(whole):
            fail(f"--at {at}: the saga has {len(whole)} events", USAGE)
        terminal.show_story(story(state, history), history, as_json=as_json)


@click.command()
@settings_options(
    click.argument("saga_id", metavar="[ID]", required=False),
    click.option("--follow", is_flag=True, help="Go on with new events as they come; Ctrl-C stops."),
    as_json_option,
)
def events(settings: Settings, saga_id: str | None, follow: bool, as_json: bool) -> None:
    """Print the log: of one saga or record, or all of it."""
    with reading(settings) as node:
        if saga_id is not None and not follow and not node.log.entries(saga_id, limit=1):
            fail(f"the log holds nothing under the id {saga_id!r}", NOT_FOUND)
        try:
            for entry in node.log.follow(saga_id) if follow else node.log.walk(saga_id):
                terminal.show_entry(entry, as_json=as_json)
        except KeyboardInterrupt:
            return
