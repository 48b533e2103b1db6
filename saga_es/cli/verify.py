"""`saga-es verify`, `seal` and `keygen`."""

from __future__ import annotations

import os
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
    errors,
    fail,
    reading,
    reported,
    settings_options,
)
from saga_es.cli.progress import advancing, reaching
from saga_es.core.describe import plain
from saga_es.errors import BadSeal
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.log.streams import count, heads
from saga_es.store.proof.integrity import Broken
from saga_es.store.proof.seal import Seal, write_seal
from saga_es.store.proof.signing import PrivateKey, PublicKey, make_keys
from saga_es.store.proof.verify import verify_archives, verify_seal, verify_streams
from saga_es.store.tables import saga_archives
from saga_es.store.views.comparing import ViewDifference, compare
from saga_es.store.views.kinds import Projection, Tally

MOST_ROWS = 100
"""Rows of a view that are named, of those that are missing, surplus, and different; all are counted."""

MOST_IN_JSON = 1000
"""Differences that are printed as JSON; all are counted."""

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class Verified(msgspec.Struct):
    """What a verification has come to.

    Attributes:
        events: How many events were looked at.
        rows: How many rows the views should have.
        sealed: How many streams were compared with a seal; None: there was none.
        archived: How many archived streams were looked for in their files; None: none.
        found: How many differences there are.
        differences: The first of them.
        uncompared: Views that could not be compared, for streams that they may count are archived.
    """

    events: int = 0
    rows: int = 0
    sealed: int | None = None
    archived: int | None = None
    found: int = 0
    differences: list[Broken | ViewDifference] = []
    uncompared: list[str] = []


class Wanted(msgspec.Struct, frozen=True):
    """What is to be verified.

    Attributes:
        stream_id: This stream alone, and no views.
        names: These views alone, and not the log.
        against: A seal.
        public_key: What it was signed with.
        archives: A folder.
    """

    stream_id: str | None
    names: tuple[str, ...]
    against: Path | None
    public_key: Path | None
    archives: Path | None


@click.command(short_help="See whether the log is whole and the views are its fold; exit 7 if not.")
@settings_options(
    click.option("--view", "names", multiple=True, metavar="NAME", help="This view alone; may be given again."),
    click.option("--stream", "stream_id", metavar="ID", help="This stream alone, and no views."),
    click.option("--against", type=_EXISTING, metavar="FILE", help="A seal: nothing of it may be lost or changed."),
    click.option("--public-key", type=_EXISTING, metavar="FILE", help="The key that the seal was signed with."),
    click.option(
        "--archives", type=_FOLDER, metavar="FOLDER", help="Where archives are: what is in them is as it left."
    ),
    as_json_option,
)
def verify(settings: Settings, as_json: bool, **wanted: Any) -> None:
    """See whether the log is whole and the views are its fold, and say where not: exit 0 when all is well, 7 when not.

    Of the log: versions without gaps, positions that grow, the hash chain of every stream, and what must hold of every
    saga. Of the views: each row, byte for byte; --view NAME looks at that view alone, and not at the log.

    With --against, also whether every stream that was sealed still is what it was, or has gone on from there: only this
    finds a stream that was removed, cut off, or written anew with all its hashes. With --archives, also whether what
    was archived still is in its files.

    It may run while sagas do.
    """
    asked = Wanted(**wanted)
    if (asked.against is None) != (asked.public_key is None):
        fail("--against FILE and --public-key FILE belong together", USAGE)
    if asked.names and (asked.stream_id or asked.against or asked.archives):
        fail("--view looks at views, --stream, --against and --archives at the log: ask one after the other", USAGE)
    verified = Verified()
    with reading(settings) as node:
        for difference in _differences(node, verified, asked):
            verified.found += 1
            if not as_json:
                click.echo(plain(str(difference)))
            elif verified.found <= MOST_IN_JSON:
                verified.differences.append(difference)
    if as_json:
        click.echo(msgspec.json.encode(verified))
    else:
        errors.print(_summary(verified), markup=False, soft_wrap=True)
    if verified.found:
        sys.exit(MISMATCH)


def _differences(node: Node, verified: Verified, asked: Wanted) -> Iterator[Broken | ViewDifference]:
    if not asked.names:
        yield from _of_the_log(node, verified, asked)
    if not asked.stream_id:
        yield from _of_the_views(node, verified, chosen(node, asked.names))


def _of_the_log(node: Node, verified: Verified, asked: Wanted) -> Iterator[Broken]:
    with node.database.snapshot() as connection:
        verified.events = count(connection, asked.stream_id)
        if asked.stream_id is not None and not verified.events:
            fail(f"the log holds nothing under the id {asked.stream_id!r}", NOT_FOUND)
        with advancing("Verifying the log", "events", verified.events) as told:
            yield from verify_streams(connection, node.store.sagas, told, asked.stream_id)
        if asked.against is not None and asked.public_key is not None:
            yield from _of_the_seal(connection, verified, asked.against, PublicKey(asked.public_key))
        if asked.archives is not None:
            verified.archived = connection.scalar(sa.select(sa.func.count()).select_from(saga_archives)) or 0
            with advancing("Reading the archives", "streams", verified.archived) as told:
                yield from verify_archives(connection, asked.archives, told)


def _of_the_seal(connection: Connection, verified: Verified, path: Path, key: PublicKey) -> Iterator[Broken]:
    try:
        seal = Seal(path, key)
        with advancing("Comparing with the seal", "streams", seal.streams) as told:
            yield from verify_seal(connection, seal, told)
        verified.sealed = seal.streams
    except BadSeal as error:
        yield Broken("", 0, str(error))


def _of_the_views(node: Node, verified: Verified, views: Sequence[Projection]) -> Iterator[ViewDifference]:
    tallies = [str(view.name) for view in views if isinstance(view, Tally)]
    if _any_archived(node):  # what an archived stream had added to a sum, nobody knows
        verified.uncompared = tallies
    compared = [view for view in views if view.name not in verified.uncompared]
    with reaching("Comparing the views") as told:
        comparisons = compare(node.database, node.store.log, compared, told, named=MOST_ROWS)
    if tallies and _any_archived(node):  # since, perhaps
        verified.uncompared = tallies
    for comparison in comparisons:
        if comparison.view.name not in verified.uncompared:
            verified.rows += comparison.rows
            yield from comparison.told()


def _any_archived(node: Node) -> bool:
    with node.database.reading() as connection:
        return connection.scalar(sa.select(saga_archives.c.stream_id).limit(1)) is not None


def _summary(verified: Verified) -> str:
    looked_at = [
        *([f"{verified.events:,} events"] if verified.events else []),
        *([f"{verified.sealed:,} sealed streams"] if verified.sealed is not None else []),
        *([f"{verified.archived:,} archived streams"] if verified.archived is not None else []),
        *([f"{verified.rows:,} rows of views"] if verified.rows else []),
    ]
    found = f"{verified.found:,} differences" if verified.found else "all is whole"
    tallies = ", ".join(verified.uncompared)
    left = f" Not compared: {tallies}, for streams are archived that they may count." if tallies else ""
    return f"{', '.join(looked_at) or 'Nothing there'}: {found}.{left}"


@click.command(short_help="Sign where every stream stands, for `verify --against`.")
@settings_options(
    click.argument("file", type=_FILE),
    click.option("--key", type=_EXISTING, required=True, metavar="FILE", help="The private key; see `saga-es keygen`."),
    as_json_option,
)
def seal(settings: Settings, file: Path, key: Path, as_json: bool) -> None:
    """Write to FILE where every stream stands, signed with Ed25519.

    Keep the file where those who can change the database cannot reach it. FILE appears when it is complete, in place of
    an older one.
    """
    signing = PrivateKey(key)
    beside = file.with_name(file.name + ".part")
    with ExitStack() as opened:
        node = opened.enter_context(reading(settings))
        connection = opened.enter_context(node.database.snapshot())
        written = opened.enter_context(beside.open("wb"))
        closing = write_seal(heads(connection), written, signing, datetime.now(UTC))
        written.flush()
        os.fsync(written.fileno())
    beside.replace(file)
    if as_json:
        click.echo(msgspec.json.encode({"streams": closing.streams, "root": closing.root, "file": str(file)}))
    else:
        errors.print(
            f"Sealed {closing.streams:,} streams in {file}, root {closing.root}.", markup=False, soft_wrap=True
        )


@click.command(short_help="Make a pair of keys for `seal` and `verify --against`.")
@click.argument("file", type=_FILE)
def keygen(file: Path) -> None:
    """Make a pair of Ed25519 keys: the private one in FILE, which only you may read, the public one in FILE.pub."""
    with reported():
        public = make_keys(file)
    errors.print(f"The private key is in {file}, the public one in {public}.", markup=False, soft_wrap=True)
