"""`saga-es check`."""

from __future__ import annotations

import sys

import click

from saga_es.cli.options import MISMATCH, as_json_option, reading, settings_options
from saga_es.cli.terminal import print_json, say
from saga_es.definition.code import code_of, decoded
from saga_es.definition.saga import family
from saga_es.node.settings import Settings
from saga_es.runtime.compatibility import Comparison, Group, Retired, Verdict, Version, compare

_WORDS = {
    Verdict.GOES_ON: "go on",
    Verdict.WAITS: "wait for living workers, which have the code",
    Verdict.STRANDED: "need code that is nowhere, and would wait for a worker that has it",
    Verdict.UNREADABLE: "cannot be read",
}


@click.command(short_help="Check whether unfinished sagas go on with this code; exit 7 if some would not.")
@settings_options(as_json_option)
def check(settings: Settings, as_json: bool) -> None:
    """Compare the code with the log: which unfinished sagas go on with this code, and which would not.

    Run it with the new code before the roll-out. A saga goes on under the plan that it started with. It needs the code
    of the steps that it has not passed, and of the compensations of the steps that it has; each may ask only for what
    its plan knows. Exit 0 when all go on; 7 when some wait for living workers that have the code, or need code that is
    nowhere, or cannot be read.
    """
    with reading(settings) as node:
        living = [decoded(code) for code in node.store.workers.codes().values() if code is not None]
        compared = compare(node.database, node.store.sagas, code_of(family(node.app.sagas)), living)
    if as_json:
        print_json(compared)
    for line in () if as_json else _lines(compared):
        say(line)
    if not compared.goes_on:
        sys.exit(MISMATCH)


def _lines(compared: Comparison) -> list[str]:
    versions = [line for version in compared.versions for line in _version(version)]
    return [*(versions or ["No unfinished sagas."]), *map(_retired, compared.retired)]


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
