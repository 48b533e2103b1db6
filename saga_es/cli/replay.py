"""`saga-es replay`."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

import click

from saga_es.cli.options import FAILURE, USAGE, as_json_option, chosen, fail, reading, settings_options
from saga_es.cli.progress import reaching
from saga_es.cli.terminal import errors, print_json, say
from saga_es.core.describe import plain
from saga_es.errors import ProjectionFailed
from saga_es.node.settings import Settings
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views import mixed
from saga_es.store.views.comparing import Comparison, compare
from saga_es.store.views.rebuild import Rebuilding, build_until, rebuild

GARBAGE = 200_000
"""The threshold of the garbage collector: events make no cycles, and looking for them took a fifth of the time."""


@click.command(short_help="Rebuild the views from the log.")
@settings_options(
    click.option("--view", "names", metavar="NAME", multiple=True, help="Only this view; may be repeated."),
    click.option(
        "--until",
        type=click.IntRange(min=0),
        metavar="POSITION",
        help="Build the views at this position of the log, in tables NAME__until.",
    ),
    click.option("--dry-run", is_flag=True, help="Change nothing; compare the views with the log."),
    as_json_option,
)
def replay(settings: Settings, names: Sequence[str], until: int | None, dry_run: bool, as_json: bool) -> None:
    """Rebuild the views from the log, while sagas run and the views are read.

    Each view is built in a new table beside its own. At the end all new tables replace the old ones at once; appends
    wait for a moment. An interrupted replay leaves the views unchanged. A view that fails on an event stays unchanged
    and is named with the event; the other views are rebuilt; exit 1.

    A view in service always shows the whole log. --until builds the views at a position in separate tables,
    NAME__until, to be read with SQL; the next replay drops these tables.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE)
    with reading(settings) as node:
        views = chosen(node, names)
        last = node.store.log.last_position()
        if until is not None and until > last:
            fail(f"--until {until}: the log ends at position {last}", USAGE)
        if dry_run:
            with reaching("Replaying") as report:
                compared = compare(node.database, node.store.log, views, report, until)
            _show_comparisons(compared, as_json=as_json)
            is_failed = any(comparison.failed for comparison in compared)
        else:
            with schema_lock(node.database) as connection, reaching("Replaying") as report:
                if until is None:
                    with connection.begin():
                        newer = mixed.of_newer(connection, views)
                    if newer:
                        names = ", ".join(view.name for view in newer)
                        fail(f"a newer version has made {names}, with more columns: replay with that version", FAILURE)
                    rebuilding = rebuild(connection, node.database, node.store.log, views, report)
                else:
                    rebuilding = build_until(connection, node.database, node.store.log, views, until, report)
            _show_rebuilding(rebuilding, as_json=as_json)
            is_failed = any(rebuilt.failed for rebuilt in rebuilding.views)
    if is_failed:
        sys.exit(FAILURE)


# ── The result ───────────────────────────────────────────────────────────────────────────────────────────


def _show_rebuilding(rebuilding: Rebuilding, *, as_json: bool) -> None:
    if as_json:
        views = [
            {"view": rebuilt.view.name, "table": rebuilt.table, "rows": rebuilt.rows, "failed": _facts(rebuilt.failed)}
            for rebuilt in rebuilding.views
        ]
        numbers = {name: getattr(rebuilding, name) for name in ("position", "events", "took_s", "held_s", "unread")}
        print_json({"views": views, **numbers})
        return
    for rebuilt in rebuilding.views:
        if rebuilt.failed is None:
            click.echo(f"{rebuilt.table}: {rebuilt.rows:,} rows")
        else:
            say(f"{rebuilt.view.name}: unchanged. {rebuilt.failed}")
    for kind, many in rebuilding.unread.items():
        errors.print(
            plain(
                f"Left out: {many:,} of {kind}, which this version cannot read; replay again with a version that can."
            ),
            markup=False,
            soft_wrap=True,
        )
    rate = rebuilding.events / max(rebuilding.took_s, 1e-9)
    errors.print(
        f"{rebuilding.events:,} events up to position {rebuilding.position:,} in {rebuilding.took_s:.1f} s, "
        f"{rate:,.0f} a second; appends waited for {rebuilding.held_s * 1000:.0f} ms."
    )


def _show_comparisons(compared: Sequence[Comparison], *, as_json: bool) -> None:
    if as_json:
        views = [
            {
                "view": comparison.view.name,
                **{
                    name: getattr(comparison, name)
                    for name in ("position", "rows", "missing", "surplus", "different", "examples", "problem")
                },
                "failed": _facts(comparison.failed),
            }
            for comparison in compared
        ]
        print_json({"views": views})
        return
    for comparison in compared:
        say(f"{comparison.view.name}: {_verdict(comparison)}")
    errors.print("Nothing was changed.")


def _verdict(comparison: Comparison) -> str:
    would = f"would have {comparison.rows:,} rows at position {comparison.position:,}"
    if comparison.failed is not None:
        return f"would stay unchanged. {comparison.failed}"
    if comparison.problem is not None:
        return f"{would}; {comparison.problem}"
    if comparison.is_equal:
        return f"{would}, and is the same"
    return (
        f"{would}: {comparison.missing:,} more, {comparison.surplus:,} fewer, {comparison.different:,} different, "
        f"such as {', '.join(comparison.examples)}"
    )


def _facts(failed: ProjectionFailed | None) -> dict[str, Any] | None:
    if failed is None:
        return None
    return {name: getattr(failed, name) for name in ("position", "event_type", "stream_id", "version", "why")}
