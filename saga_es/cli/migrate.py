"""`saga-es migrate`: a saga, or all sagas of a plan, go on under the present plan of their definition."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from saga_es.cli import output
from saga_es.cli.actor import actor_option
from saga_es.cli.options import FAILURE, NOT_FOUND, USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.terminal import print_json, say
from saga_es.core.describe import plain
from saga_es.errors import CommandRefused, NotFound, SagaArchived
from saga_es.node.explain import explained
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.queries.plans import plans_like, sagas_of_plan

SHOWN = 5
"""Ids that are shown for a reason."""


class Refused(msgspec.Struct):
    """Sagas that cannot be migrated, for one reason.

    Attributes:
        saga_ids: At most `SHOWN` of their ids.
    """

    reason: str
    sagas: int = 0
    saga_ids: list[str] = []


class Migrated(msgspec.Struct):
    """What became of the sagas of a plan, or (in a preview) would."""

    from_plan: str
    migrated: int = 0
    refused: list[Refused] = []

    def refuse(self, saga_id: str, reason: str) -> None:
        """Count a saga that cannot be migrated."""
        group = next((group for group in self.refused if group.reason == reason), None)
        if group is None:
            group = Refused(reason)
            self.refused.append(group)
        group.sagas += 1
        group.saga_ids += [saga_id] if len(group.saga_ids) < SHOWN else []


@click.command(short_help="Let a saga go on under the present plan of its definition.")
@settings_options(
    click.argument("saga_id", metavar="[ID]", required=False),
    click.option("--all-of", "plan", metavar="PLAN", help="All unfinished and FAILED sagas of this plan, by its id."),
    click.option("--to", type=click.Choice(["current"]), default="current", help="Which plan.  [default: current]"),
    click.option("--preview", "is_preview", is_flag=True, help="Only print what would become of the steps."),
    click.option("--reason", metavar="TEXT", help="Why; the log keeps it for ever.  [required without --preview]"),
    actor_option,
    as_json_option,
)
def migrate(settings: Settings, saga_id: str | None, plan: str | None, is_preview: bool, **about: Any) -> None:
    """Let a saga, or all sagas of a plan, go on under the present plan of their definition.

    Steps that have begun stay as they are; steps that the definition renamed (`saga.replaces`) go by their new names;
    all others follow the present plan. What does not fit is refused, with the reason. The exit code is 1 when a saga
    is refused.
    """
    reason, actor, as_json = about["reason"], about["actor"], about["as_json"]
    if (saga_id is None) is (plan is None):
        raise click.UsageError("Name one saga by its ID, or a plan with --all-of PLAN.")
    if reason is None and not is_preview:
        raise click.UsageError("Missing option '--reason'.")
    with reading(settings) as node:
        if plan is not None:
            _all_of(node, plan, None if is_preview else (reason, actor), as_json=as_json)
        elif is_preview:
            _preview(node, str(saga_id), as_json=as_json)
        else:
            _one(node, str(saga_id), reason, actor, as_json=as_json)


def _preview(node: Node, saga_id: str, *, as_json: bool) -> None:
    found = node.client.preview_migration(saga_id)
    output.show_migration_of_saga(found, as_json=as_json)
    if found.refused:
        sys.exit(FAILURE)


def _one(node: Node, saga_id: str, reason: str, actor: str, *, as_json: bool) -> None:
    found = node.client.preview_migration(saga_id)
    node.client.migrate(saga_id, reason=reason, actor=actor)
    if as_json:
        output.show_migration_of_saga(found, as_json=True)
        return
    is_there = found.from_plan == found.to_plan
    recorded = "It has the present plan already." if is_there else "Recorded the migration."
    say(f"{recorded} {explained(node, saga_id).sentence}")


def _all_of(node: Node, plan: str, command: tuple[str, str] | None, *, as_json: bool) -> None:
    """Migrate all sagas of a plan; without a command, say what would become of them."""
    done = Migrated(_plan(node, plan))
    for some in sagas_of_plan(node.database, done.from_plan):
        for saga_id in some:
            try:
                refused = _next(node, saga_id, command)
            except (NotFound, SagaArchived):  # it has ended meanwhile, and was archived
                continue
            if refused:
                done.refuse(saga_id, refused)
            else:
                done.migrated += 1
    if as_json:
        print_json(done)
    for line in () if as_json else _lines(done, is_preview=command is None):
        say(line)
    if done.refused:
        sys.exit(FAILURE)


def _plan(node: Node, start: str) -> str:
    """The plan whose id this is, or begins like this."""
    found = plans_like(node.database, start)
    if not found:
        fail(f"no unfinished or FAILED saga has a plan {start!r}; `saga-es check` shows the plans", NOT_FOUND)
    if len(found) > 1 and start not in found:
        fail(f"--all-of: several plans begin with {start!r}: {', '.join(found)}", USAGE)
    return start if start in found else found[0]


def _next(node: Node, saga_id: str, command: tuple[str, str] | None) -> str | None:
    """Migrate one saga, or look what it would need; why it is refused."""
    if command is None:
        return "; ".join(node.client.preview_migration(saga_id).refused) or None
    try:
        node.client.migrate(saga_id, reason=command[0], actor=command[1])
    except CommandRefused as error:
        return error.why
    return None


def _lines(done: Migrated, *, is_preview: bool) -> Iterator[str]:
    yield f"{done.from_plan}: {done.migrated} sagas {'can be' if is_preview else 'were'} migrated"
    for group in done.refused:
        more = group.sagas - len(group.saga_ids)
        ids = ", ".join(group.saga_ids) + (f" and {more} more" if more else "")
        yield plain(f"{group.sagas} cannot: {group.reason} ({ids})")
