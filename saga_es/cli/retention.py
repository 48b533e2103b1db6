"""Retention: `saga-es archive`, `import`, `export`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec

from saga_es.cli import output
from saga_es.cli.actor import actor_option
from saga_es.cli.filters import age
from saga_es.cli.options import SAMPLE, USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.progress import advancing
from saga_es.cli.terminal import errors
from saga_es.core.describe import plain
from saga_es.core.state import SagaStatus
from saga_es.node.gate import to_be_checked
from saga_es.node.settings import Settings
from saga_es.store.archive.archiving import Archiving
from saga_es.store.archive.archiving import Progress as Archived
from saga_es.store.archive.bundle import counted
from saga_es.store.archive.exporting import export as write_bundle
from saga_es.store.archive.exporting import export_all
from saga_es.store.archive.families import Over, count_over, families_over
from saga_es.store.archive.importing import Brought, By, Importing
from saga_es.store.own_files import OWNERS_FOLDER
from saga_es.store.views.catch_up import CatchUp
from saga_es.store.views.kinds import Tally


def _moment(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!a:.80} is not a date; write 2026-01-31, or 2026-01-31T12:00:00Z") from error


def _folder(_context: click.Context, _option: click.Parameter, folder: Path) -> Path:
    if not folder.is_dir() and not folder.absolute().parent.is_dir():
        raise click.BadParameter(f"the folder {str(folder.absolute().parent)!r}, in which it would be, does not exist")
    return folder


@click.command(short_help="Move finished sagas from the log to files.")
@settings_options(
    click.option("--before", callback=_moment, metavar="DATE", help="Only sagas that ended before it (UTC)."),
    click.option(
        "--older-than", "older_than_s", callback=age, metavar="AGE", help="Instead: that ended so long ago: 12h, 90d."
    ),
    click.option("--failed", is_flag=True, help="Also FAILED sagas, which can then no longer be retried."),
    click.option(
        "--folder",
        type=click.Path(path_type=Path, file_okay=False, writable=True),
        callback=_folder,
        default=".",
        help="The folder of the archives; made if it is missing.  [default: the present folder]",
    ),
    click.option("--keep-in-views", is_flag=True, help="Keep the sagas in lists until `replay` rebuilds the views."),
    click.option("--dry-run", is_flag=True, help="Only print the number of sagas."),
    as_json_option,
)
def archive(
    settings: Settings,
    before: datetime | None,
    older_than_s: float | None,
    failed: bool,
    folder: Path,
    keep_in_views: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move sagas that ended before DATE, or longer than AGE ago, from the log to compressed files.

    It moves COMPLETED and COMPENSATED sagas; a saga and its child sagas move only together. Each file is synced, read
    back and checked, hash by hash, before anything leaves the log. An interrupted archive loses nothing: run it again.
    Keep the files: `saga-es import FILE` brings the sagas back. An archived saga cannot be started again.
    """
    if (before is None) is (older_than_s is None):
        fail("give --before DATE or --older-than AGE: one of the two", USAGE)
    before = before or datetime.now(UTC) - timedelta(seconds=older_than_s or 0)
    statuses = (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, *([SagaStatus.FAILED] if failed else []))
    over = Over(before, statuses)
    with reading(settings) as node:
        many = count_over(node.database, over)
        if dry_run:
            output.show_retention({"would_archive": many}, as_json=as_json)
            return
        folder.mkdir(OWNERS_FOLDER, exist_ok=True)
        for view in node.views:
            if view.follows:  # what it has yet to take up would stay in the log: without a worker, for ever
                CatchUp(node.database, node.store.log, view).to_the_end()
        archiving = Archiving(node.database, node.store.sagas, node.views, over, folder, keep_in_views=keep_in_views)
        archived = Archived()
        with advancing("Archiving", "sagas", many) as advance:
            so_far = 0
            for archived in archiving.archive(families_over(node.database, over), datetime.now(UTC)):
                advance(archived.sagas - so_far)
                so_far = archived.sagas
    output.show_retention(msgspec.structs.asdict(archived), as_json=as_json)


@click.command("import", short_help="Bring the sagas of an archive or an export into the log.")
@settings_options(
    click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True)),
    click.option("--unfinished", is_flag=True, help="Also unfinished sagas; a worker here goes on with them."),
    click.option("--check", is_flag=True, help="Only read the file and check every hash in it."),
    click.option("--reason", metavar="TEXT", help="Why; the log keeps it for ever."),
    actor_option,
    as_json_option,
)
def import_(
    settings: Settings, file: Path, unfinished: bool, check: bool, reason: str | None, actor: str, as_json: bool
) -> None:
    """Bring all sagas of an archive or an export into the log, with their hashes and times.

    The whole file is read first and every hash is checked: exit code 7 when an event was changed or is missing. Sagas
    archived from this log go back to their positions; sagas of another log are appended. Sagas that are in the log
    already are skipped, so an interrupted import can be repeated. The log keeps who imported each saga, and the SHA-256
    of the file. A saga of another log answers no start here.
    """
    whole = counted(file)
    if check:
        output.show_retention({"streams": whole.streams, "events": whole.events}, as_json=as_json)
        return
    with reading(settings) as node, advancing("Importing", "streams", whole.streams) as advance:
        brought = Brought()
        so_far = 0
        store, by = node.store, By(actor, reason)
        importing = Importing(node.database, store.log, store.sagas, node.views, by, unfinished=unfinished)
        for brought in importing.bring(file):
            advance(brought.streams - so_far)
            so_far = brought.streams
    output.show_retention(msgspec.structs.asdict(brought), as_json=as_json)
    sums = [str(view.name) for view in node.views if isinstance(view, Tally)]
    if brought.back and sums:  # a sum may still include the sagas, or not
        again = plain(f"saga-es replay {' '.join(f'--view {name}' for name in sums)}")
        text = f"If the sums were rebuilt since the archiving, they lack the imported sagas; to complete them: {again}"
        errors.print(text, markup=False, soft_wrap=True)


@click.command(short_help="Print one saga as a bundle that another installation can import.")
@settings_options(
    click.argument("saga_id", metavar="[ID]", required=False),
    click.option("--for-check", is_flag=True, help="Instead: what `saga-es check --bundle` looks at."),
    SAMPLE,
)
def export(settings: Settings, saga_id: str | None, for_check: bool, sample: int) -> None:
    """Print one saga, its child sagas and their plans, as lines of JSON with their hashes.

    `saga-es export ID > FILE` here, then `saga-es import FILE`, `show` and `verify` on another database. With
    --for-check: all unfinished sagas and the newest of each definition, for `saga-es check --bundle FILE` elsewhere.
    Inputs and results are in the file as they are in the log.
    """
    if for_check is (saga_id is not None):
        fail("name one saga, or give --for-check: one of the two", USAGE)
    if sys.stdout.isatty():
        fail("the output is for a file: saga-es export ID > FILE", USAGE)
    with reading(settings) as node:
        if saga_id is None:
            export_all(node.store.sagas, to_be_checked(node, sample), sys.stdout.buffer, datetime.now(UTC))
            return
        write_bundle(node.store.sagas, saga_id, sys.stdout.buffer, datetime.now(UTC))
