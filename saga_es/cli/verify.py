"""`saga-es verify`, `seal` and `keygen`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.cli.options import (
    MISMATCH,
    NOT_FOUND,
    USAGE,
    as_json_option,
    chosen,
    fail,
    reading,
    reported,
    settings_options,
)
from saga_es.cli.progress import advancing, reaching
from saga_es.cli.terminal import errors, print_json, say
from saga_es.errors import BadSeal, StoreUnavailable
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.log.streams import count, heads
from saga_es.store.own_files import replacing
from saga_es.store.proof.integrity import Broken
from saga_es.store.proof.seal import Seal, write_seal
from saga_es.store.proof.signing import PrivateKey, PublicKey, make_keys
from saga_es.store.proof.verify import verify_archives, verify_seal, verify_streams
from saga_es.store.tables import saga_archives
from saga_es.store.verdicts import record
from saga_es.store.views.comparing import ViewDifference, compare
from saga_es.store.views.kinds import Projection, Tally

MOST_ROWS = 100
"""The most rows that are named, of each view and kind (missing, surplus, different); all are counted."""

MOST_IN_JSON = 1000
"""The most differences in the JSON; all are counted."""

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class Verified(msgspec.Struct):
    """The result of a verification.

    Attributes:
        events: The number of events that were verified.
        rows: The number of rows that the views should have.
        sealed: The number of streams that were compared with a seal; None: no seal was given.
        archived: The number of archived streams that were checked in their files; None: no folder was given.
        found: The number of differences.
        differences: The first differences.
        uncompared: Views that could not be compared, because they may count streams that are archived.
    """

    events: int = 0
    rows: int = 0
    sealed: int | None = None
    archived: int | None = None
    found: int = 0
    differences: list[Broken | ViewDifference] = []
    uncompared: list[str] = []


class Wanted(msgspec.Struct, frozen=True):
    """The options of a verification.

    Attributes:
        stream_id: Verify only this stream, and no views.
        names: Verify only these views, and not the log.
        against: The file of a seal.
        public_key: The file of the public key of the seal.
        archives: The folder of the archives.
    """

    stream_id: str | None
    names: tuple[str, ...]
    against: Path | None
    public_key: Path | None
    archives: Path | None


@click.command(short_help="Verify that the log is intact and the views are its fold; exit 7 if not.")
@settings_options(
    click.option("--view", "names", multiple=True, metavar="NAME", help="Only this view; may be repeated."),
    click.option("--stream", "stream_id", metavar="ID", help="Only this stream, and no views."),
    click.option("--against", type=_EXISTING, metavar="FILE", help="A seal; no sealed event may be lost or changed."),
    click.option("--public-key", type=_EXISTING, metavar="FILE", help="The public key of the seal."),
    click.option("--archives", type=_FOLDER, metavar="FOLDER", help="The folder of the archives, to verify them."),
    as_json_option,
)
def verify(settings: Settings, as_json: bool, **options: Any) -> None:
    """Verify that the log is intact and the views are its fold, and name each difference; exit 0 without any, else 7.

    In the log it verifies the versions, the positions, the hash chain of every stream, and the rules of every saga. In
    the views it compares each row, byte for byte; --view NAME verifies only that view, and not the log.

    --against also verifies that every sealed stream is unchanged, or has only grown: only this finds a stream that was
    removed, cut off, or rewritten with all its hashes. --archives also verifies the files of archived streams.

    Sagas may run meanwhile. What it found is recorded for the metrics, unless only a part is verified.
    """
    wanted = Wanted(**options)
    if (wanted.against is None) != (wanted.public_key is None):
        fail("--against FILE and --public-key FILE belong together", USAGE)
    if wanted.names and (wanted.stream_id or wanted.against or wanted.archives):
        fail("--view verifies views; --stream, --against and --archives verify the log: run one after the other", USAGE)
    verified = Verified()
    with reading(settings) as node:
        for difference in _differences(node, verified, wanted):
            verified.found += 1
            if not as_json:
                say(str(difference))
            elif verified.found <= MOST_IN_JSON:
                verified.differences.append(difference)
        if not (wanted.names or wanted.stream_id):
            _record(node, verified.found)
    _print(verified, as_json=as_json)
    if verified.found:
        sys.exit(MISMATCH)


def _record(node: Node, found: int) -> None:
    """Record what was found, for metrics and alerts; where nothing can be written, say so."""
    try:
        record(node.database, found)
    except (StoreUnavailable, sa.exc.DBAPIError) as error:
        errors.print(f"The result could not be recorded for the metrics: {error}", markup=False, soft_wrap=True)


def _print(verified: Verified, *, as_json: bool) -> None:
    if as_json:
        print_json(verified)
    else:
        errors.print(_summary(verified), markup=False, soft_wrap=True)


def _differences(node: Node, verified: Verified, wanted: Wanted) -> Iterator[Broken | ViewDifference]:
    if not wanted.names:
        yield from _of_the_log(node, verified, wanted)
    if not wanted.stream_id:
        yield from _of_the_views(node, verified, chosen(node, wanted.names))


def _of_the_log(node: Node, verified: Verified, wanted: Wanted) -> Iterator[Broken]:
    with node.database.snapshot() as connection:
        verified.events = count(connection, wanted.stream_id)
        if wanted.stream_id is not None and not verified.events:
            fail(f"the log holds nothing under the id {wanted.stream_id!r}", NOT_FOUND)
        with advancing("Verifying the log", "events", verified.events) as advance:
            yield from verify_streams(connection, node.store.sagas, advance, wanted.stream_id)
        if wanted.against is not None and wanted.public_key is not None:
            yield from _of_the_seal(connection, verified, wanted.against, PublicKey(wanted.public_key))
        if wanted.archives is not None:
            verified.archived = connection.scalar(sa.select(sa.func.count()).select_from(saga_archives)) or 0
            with advancing("Reading the archives", "streams", verified.archived) as advance:
                yield from verify_archives(connection, wanted.archives, advance)


def _of_the_seal(connection: Connection, verified: Verified, path: Path, key: PublicKey) -> Iterator[Broken]:
    try:
        seal = Seal(path, key)
        with advancing("Comparing with the seal", "streams", seal.streams) as advance:
            yield from verify_seal(connection, seal, advance)
        verified.sealed = seal.streams
    except BadSeal as error:
        yield Broken("", 0, str(error))


def _of_the_views(node: Node, verified: Verified, views: Sequence[Projection]) -> Iterator[ViewDifference]:
    tallies = [str(view.name) for view in views if isinstance(view, Tally)]
    if _any_archived(node):  # the share of an archived stream in a sum is unknown
        verified.uncompared = tallies
    compared = [view for view in views if view.name not in verified.uncompared]
    with reaching("Comparing the views") as report:
        comparisons = compare(node.database, node.store.log, compared, report, named=MOST_ROWS)
    if tallies and _any_archived(node):  # perhaps only since the first look
        verified.uncompared = tallies
    for comparison in comparisons:
        if comparison.view.name not in verified.uncompared:
            verified.rows += comparison.rows
            yield from comparison.lines()


def _any_archived(node: Node) -> bool:
    with node.database.reading() as connection:
        return connection.scalar(sa.select(saga_archives.c.stream_id).limit(1)) is not None


def _summary(verified: Verified) -> str:
    verified_parts = [
        *([f"{verified.events:,} events"] if verified.events else []),
        *([f"{verified.sealed:,} sealed streams"] if verified.sealed is not None else []),
        *([f"{verified.archived:,} archived streams"] if verified.archived is not None else []),
        *([f"{verified.rows:,} rows of views"] if verified.rows else []),
    ]
    found = f"{verified.found:,} differences" if verified.found else "all is intact"
    tallies = ", ".join(verified.uncompared)
    left = f" Not compared: {tallies}, because they may count archived streams." if tallies else ""
    return f"{', '.join(verified_parts) or 'Nothing there'}: {found}.{left}"


@click.command(short_help="Sign the heads of all streams, for `verify --against`.")
@settings_options(
    click.argument("file", type=_FILE),
    click.option("--key", type=_EXISTING, required=True, metavar="FILE", help="The private key; see `saga-es keygen`."),
    as_json_option,
)
def seal(settings: Settings, file: Path, key: Path, as_json: bool) -> None:
    """Write the heads of all streams to FILE, signed with Ed25519.

    Keep the file out of reach of everyone who can change the database. FILE appears when it is complete, and replaces
    an older one.
    """
    signing = PrivateKey(key)
    with ExitStack() as opened:
        node = opened.enter_context(reading(settings))
        connection = opened.enter_context(node.database.snapshot())
        written = opened.enter_context(replacing(file))
        closing = write_seal(heads(connection), written, signing, datetime.now(UTC))
    if as_json:
        print_json({"streams": closing.streams, "root": closing.root, "file": str(file)})
    else:
        errors.print(
            f"Sealed {closing.streams:,} streams in {file}, root {closing.root}.", markup=False, soft_wrap=True
        )


@click.command(short_help="Make a pair of keys for `seal` and `verify --against`.")
@click.argument("file", type=_FILE)
def keygen(file: Path) -> None:
    """Make a pair of Ed25519 keys: the private key in FILE, readable only by you, and the public key in FILE.pub."""
    with reported():
        public = make_keys(file)
    errors.print(f"The private key is in {file}, the public key in {public}.", markup=False, soft_wrap=True)
