"""Batches of commands: `saga-es batch start`, `batch list`, `batch show`, `batch stop`. A worker gives the commands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from msgspec.structs import asdict, replace

from saga_es.cli import output_batches
from saga_es.cli.actor import actor_option
from saga_es.cli.filters import FILTERS
from saga_es.cli.options import FAILURE, USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.terminal import say
from saga_es.core.batches import COMMANDS, BatchStarted, command_of
from saga_es.core.state import SagaStatus
from saga_es.node.settings import Settings
from saga_es.runtime.command_batches.batches import BatchRefused
from saga_es.runtime.command_batches.selection import select
from saga_es.store.queries.filters import SagaFilter

_ID = click.argument("batch_id", metavar="ID")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; the log keeps it for ever.")


@click.group()
def batch() -> None:
    """One command for many sagas."""


@batch.command(short_help="Give one command to all sagas that meet a filter.")
@settings_options(
    click.argument("command", type=click.Choice(COMMANDS)),
    *FILTERS,
    click.option("--fingerprint", metavar="ID", help="Only sagas in this group, as `failures --json` names it."),
    click.option("--step", metavar="STEP", help="For `skip`: the step."),
    click.option(
        "--ends-as",
        type=click.Choice([SagaStatus.COMPLETED, SagaStatus.COMPENSATED], case_sensitive=False),
        help="For `resolve`: how the sagas ended.",
    ),
    click.option("--pace", type=click.FloatRange(1, 100), default=10.0, show_default=True, help="Sagas a second."),
    click.option(
        "--stop-after",
        type=click.IntRange(0, 5000),
        default=10,
        show_default=True,
        help="Stop when so many sagas have failed again; 0: go on.",
    ),
    click.option(
        "--sagas", type=int, metavar="N", help="Start it, if it is for N sagas.  [default: only say the number]"
    ),
    click.option("--dry-run", is_flag=True, help="Only say the number, and some of the sagas, also with --sagas."),
    _REASON,
    actor_option,
    as_json_option,
)
def start(
    settings: Settings,
    command: str,
    sagas: int | None,
    dry_run: bool,
    reason: str,
    actor: str,
    as_json: bool,
    **asked: Any,
) -> None:
    """Give one command to all sagas that meet the filters and can follow it.

    Without --sagas, or with --dry-run, say how many those are, and do nothing. With --sagas, the batch is recorded; a
    worker gives the commands in the background.
    """
    about = {name: text for name, text in (("step", asked.pop("step")), ("status", asked.pop("ends_as"))) if text}
    if command == "skip" and "step" not in about:
        fail("--step: a batch of `skip` names the step", USAGE)
    fingerprint, pace, most = asked.pop("fingerprint"), asked.pop("pace"), asked.pop("stop_after") or None
    chosen = SagaFilter(**asked)
    kept = {name: value for name, value in asdict(chosen).items() if value not in (None, ())}
    kept |= {"fingerprint": fingerprint} if fingerprint else {}
    new = BatchStarted(command, (), kept, actor, reason, pace, about, most)
    with reading(settings) as node:
        given = command_of(new, "0" * 36)
        found = select(node.database, node.store, command, given, chosen, fingerprint, datetime.now(UTC))
        if sagas is None or dry_run:
            output_batches.show_selection(found, command, as_json=as_json)
            return
        if sagas != len(found.saga_ids):
            fail(f"--sagas: it is for {len(found.saga_ids)} sagas by now, not {sagas}; nothing was done", FAILURE)
        try:
            batch_id = node.batches.start(replace(new, saga_ids=tuple(found.saga_ids)))
        except BatchRefused as error:
            fail(f"{error}; nothing was done", FAILURE)
        output_batches.show_started(batch_id, len(found.saga_ids), as_json=as_json)


@batch.command("list", short_help="List the newest batches.")
@settings_options(as_json_option)
def list_(settings: Settings, as_json: bool) -> None:
    """List the newest batches."""
    with reading(settings) as node:
        output_batches.show_batches(node.batches.newest(), as_json=as_json)


@batch.command(short_help="Say how far a batch is.")
@settings_options(_ID, as_json_option)
def show(settings: Settings, batch_id: str, as_json: bool) -> None:
    """Say how far a batch is: how many sagas moved on, failed again, were left alone, are to go."""
    with reading(settings) as node:
        output_batches.show_progress(node.batches.progress(batch_id), as_json=as_json)


@batch.command(short_help="Stop a batch.")
@settings_options(_ID, _REASON, actor_option)
def stop(settings: Settings, batch_id: str, reason: str, actor: str) -> None:
    """Stop a batch: the rest of its sagas is left as it is."""
    with reading(settings) as node:
        try:
            node.batches.stop(batch_id, actor, reason)
        except BatchRefused as error:
            fail(str(error), FAILURE)
    say("Stopped.")
