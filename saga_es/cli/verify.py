"""`saga-es verify`, `seal` and `keygen`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from saga_es.bootstrap import Node
from saga_es.cli.options import (
    MISMATCH,
    NOT_FOUND,
    USAGE,
    as_json_option,
    errors,
    fail,
    reading,
    reported,
    settings_options,
)
from saga_es.cli.progress import advancing
from saga_es.errors import BadSeal
from saga_es.settings import Settings
from saga_es.store.integrity import Broken
from saga_es.store.seal import Seal, write_seal
from saga_es.store.signing import PrivateKey, PublicKey, make_keys
from saga_es.store.streams import count, heads
from saga_es.store.verify import verify_seal, verify_streams
from saga_es.telling import plain

MOST_IN_JSON = 1000
"""Differences that are printed as JSON; all are counted."""

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


class Verified(msgspec.Struct):
    """What a verification has come to.

    Attributes:
        events: How many events were looked at.
        sealed: How many streams were compared with a seal; None: there was none.
        found: How many differences there are.
        differences: The first of them.
    """

    events: int = 0
    sealed: int | None = None
    found: int = 0
    differences: list[Broken] = []


@click.command(short_help="See whether the log is whole and the views are its fold; exit 7 if not.")
@settings_options(
    click.option("--stream", "stream_id", metavar="ID", help="This stream alone, and no views."),
    click.option("--against", type=_EXISTING, metavar="FILE", help="A seal: nothing of it may be lost or changed."),
    click.option("--public-key", type=_EXISTING, metavar="FILE", help="The key that the seal was signed with."),
    as_json_option,
)
def verify(
    settings: Settings, stream_id: str | None, against: Path | None, public_key: Path | None, as_json: bool
) -> None:
    """See whether the log is whole, and say where it is not: exit 0 when it is, 7 when not.

    Versions without gaps, positions that grow, the hash chain of every stream, and what must hold of every saga.

    With --against, also whether every stream that was sealed still is what it was, or has gone on from there: only this
    finds a stream that was removed, cut off, or written anew with all its hashes. It may run while sagas do.
    """
    if (against is None) != (public_key is None):
        fail("--against FILE and --public-key FILE belong together", USAGE)
    verified = Verified()
    with reading(settings) as node:
        for difference in _differences(node, verified, stream_id, against, public_key):
            verified.found += 1
            if not as_json:
                click.echo(plain(str(difference)))
            elif verified.found <= MOST_IN_JSON:
                verified.differences.append(difference)
    if as_json:
        click.echo(msgspec.json.encode(verified))
    else:
        errors.print(_summary(verified), markup=False)
    if verified.found:
        sys.exit(MISMATCH)


def _differences(
    node: Node, verified: Verified, stream_id: str | None, against: Path | None, public_key: Path | None
) -> Iterator[Broken]:
    with node.database.snapshot() as connection:
        verified.events = count(connection, stream_id)
        if stream_id is not None and not verified.events:
            fail(f"the log holds nothing under the id {stream_id!r}", NOT_FOUND)
        with advancing("Verifying", "events", verified.events) as told:
            yield from verify_streams(connection, node.sagas, told, stream_id)
        if against is not None and public_key is not None:
            try:
                seal = Seal(against, PublicKey(public_key))
                with advancing("Comparing with the seal", "streams", seal.streams) as told:
                    yield from verify_seal(connection, seal, told)
                verified.sealed = seal.streams
            except BadSeal as error:
                yield Broken("", 0, str(error))


def _summary(verified: Verified) -> str:
    sealed = "" if verified.sealed is None else f", {verified.sealed:,} sealed streams"
    found = f"{verified.found:,} differences" if verified.found else "all is whole"
    return f"{verified.events:,} events{sealed}: {found}."


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
        errors.print(f"Sealed {closing.streams:,} streams in {file}, root {closing.root}.", markup=False)


@click.command(short_help="Make a pair of keys for `seal` and `verify --against`.")
@click.argument("file", type=_FILE)
def keygen(file: Path) -> None:
    """Make a pair of Ed25519 keys: the private one in FILE, which only you may read, the public one in FILE.pub."""
    with reported():
        public = make_keys(file)
    errors.print(f"The private key is in {file}, the public one in {public}.", markup=False)
