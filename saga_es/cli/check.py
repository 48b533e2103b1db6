"""`saga-es check`: the gate before a deployment."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from saga_es.cli.options import MISMATCH, SAMPLE, USAGE, app_of, as_json_option, fail, reading, settings_options
from saga_es.cli.terminal import print_json, say
from saga_es.definition.code import Code, code_of, decoded, encoded
from saga_es.definition.saga import family
from saga_es.node.gate import Rehearsed, check_bundle, check_database
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.compatibility import Comparing, Group, Retired, Verdict, Version, WayBack, ways_back
from saga_es.runtime.needed_code import CodeHere
from saga_es.runtime.rehearsal import Rehearsal
from saga_es.store.own_files import replacing

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)

_WORDS = {
    Verdict.GOES_ON: "go on",
    Verdict.WAITS: "wait for another version, which has the code",
    Verdict.STRANDED: "need code that is nowhere, and would wait for a worker that has it",
    Verdict.UNREADABLE: "cannot be read",
}


@click.command(short_help="Check what this code would do to the recorded sagas; exit 7 if some would not go on.")
@settings_options(
    SAMPLE,
    click.option("--all", "is_all", is_flag=True, help="Rehearse all sagas, not a sample."),
    click.option("--bundle", type=_FILE, help="Look at a bundle of `saga-es export --for-check`, not at the database."),
    click.option("--with-code", "code_files", type=_FILE, multiple=True, help="The code of another version."),
    click.option("--rollback", is_flag=True, help="Exit 7, too, if another version lacks code for what this starts."),
    click.option(
        "--write-code", type=click.Path(path_type=Path, dir_okay=False), help="Only write the code to a file."
    ),
    as_json_option,
)
def check(
    settings: Settings,
    sample: int,
    is_all: bool,
    bundle: Path | None,
    code_files: Sequence[Path],
    rollback: bool,
    write_code: Path | None,
    as_json: bool,
) -> None:
    """Compare the code with the log: what becomes of the recorded sagas with this code, and of new ones without it.

    Run it with the new code before the roll-out. A saga goes on under the plan that it started with. It needs the code
    of the steps that it has not passed, and of the compensations of the steps that it has; each may ask only for what
    its plan knows. Then a sample of all sagas is rehearsed: their conditions are looked at again with the recorded
    values. The other versions are those of the living workers, and of the files that --write-code wrote.

    Exit 0 when all unfinished sagas go on and every condition decides as before; 7 when some sagas wait for other
    versions, need code that is nowhere, or cannot be read, or when a condition decides otherwise or fails.
    """
    definitions = family(app_of(settings).sagas)
    if write_code is not None:
        with replacing(write_code) as file:
            file.write(encoded(code_of(definitions)).encode())
        return
    others = [_code_in(file) for file in code_files]
    rehearsal, most = Rehearsal(CodeHere(definitions)), None if is_all else sample
    if bundle is not None:
        comparing = Comparing(code_of(definitions), others)
        compared = check_bundle(Node(settings, app_of(settings)), bundle, comparing, rehearsal, most)
    else:
        with reading(settings) as node:
            others += [decoded(code) for code in node.store.workers.codes().values() if code is not None]
            compared = check_database(node, Comparing(code_of(definitions), others), rehearsal, most)
    if rollback and not others:
        fail("--rollback: no worker lives, and no --with-code says what a rollback would go back to", USAGE)
    found = Found(
        compared.goes_on,
        compared.versions,
        compared.retired,
        Rehearsed(rehearsal.sagas, rehearsal.differences),
        ways_back(definitions, others),
    )
    if as_json:
        print_json(found)
    for line in () if as_json else _lines(found):
        say(line)
    if not found.passes(rollback=rollback):
        sys.exit(MISMATCH)


class Found(msgspec.Struct):
    """What a check found.

    Attributes:
        goes_on: Whether every unfinished saga goes on.
        rehearsed: What the rehearsal found.
        rollback: What other versions would make of the sagas that this code starts.
    """

    goes_on: bool
    versions: list[Version]
    retired: list[Retired]
    rehearsed: Rehearsed
    rollback: list[WayBack]

    def passes(self, *, rollback: bool) -> bool:
        """Whether the code may be deployed; with `rollback`, whether it may be taken back, too."""
        is_stuck = rollback and any(way.missing for way in self.rollback)
        return self.goes_on and not self.rehearsed.differences and not is_stuck


def _code_in(file: Path) -> Code:
    try:
        return decoded(file.read_text())
    except (msgspec.DecodeError, UnicodeError) as error:
        fail(f"--with-code: {file} was not written by `saga-es check --write-code`: {error}", USAGE)


def _lines(found: Found) -> list[str]:
    versions = [line for version in found.versions for line in _version(version)]
    retired, back = map(_retired, found.retired), (line for way in found.rollback for line in _way_back(way))
    return [*(versions or ["No unfinished sagas."]), *retired, *_rehearsed(found.rehearsed), *back]


def _rehearsed(rehearsed: Rehearsed) -> Iterator[str]:
    if not rehearsed.sagas:
        return
    many = "1 saga" if rehearsed.sagas == 1 else f"{rehearsed.sagas} sagas"
    yield f"{many} rehearsed: {'' if rehearsed.differences else 'every condition decides as before'}".rstrip()
    for one in rehearsed.differences:
        yield f"  {one.sagas:>6}  of {one.saga!r}, {one.plan_id}: the condition of step {one.step!r} {one.what}"
        yield from (f"          {id_}" for id_ in one.saga_ids)


def _way_back(way: WayBack) -> Iterator[str]:
    if way.missing:
        yield f"after a rollback, sagas of {way.saga!r} that this version starts would wait:"
        yield from (f"          {why}" for why in way.missing)


def _retired(code: Retired) -> str:
    place = f" ({code.place})" if code.place > 1 else ""
    need = "1 saga needs it" if code.sagas == 1 else f"{code.sagas} sagas need it"
    needed = need if code.sagas else "no unfinished saga needs it: delete it"
    return f"retired step {code.step!r}{place} of {code.saga!r}: {needed}"


def _version(version: Version) -> list[str]:
    which = "the present version" if version.is_present else "another version"
    heading = f"{version.saga}  {version.plan_id}  {which}, {version.sagas} unfinished"
    return [heading, *(line for group in version.groups for line in _group(group))]


def _group(group: Group) -> list[str]:
    lines = [f"  {group.sagas:>6}  {_WORDS[group.verdict]}"]
    if group.verdict is Verdict.GOES_ON:
        return lines
    lines += [f"          {why}" for why in group.missing]
    more = group.sagas - len(group.saga_ids)
    return [*lines, *(f"          {id_}" for id_ in group.saga_ids), *([f"          and {more} more"] if more else [])]
