"""`saga-es start`: record the start of a saga, for any worker to run."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click
import msgspec

from saga_es.cli import output
from saga_es.cli.filters import tags_of
from saga_es.cli.options import FAILURE, USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.terminal import errors
from saga_es.errors import BadStart, BadStreamId, BadTags, DefinitionError
from saga_es.node.settings import Settings


def _time(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"write it as in 2030-01-31T18:00:00Z: {error}") from error
    if moment is not None and moment.tzinfo is None:
        raise click.BadParameter("it needs a time zone: write it as in 2030-01-31T18:00:00Z")
    return moment


@click.command(short_help="Start a saga, for a worker to run.")
@settings_options(
    click.argument("name", metavar="NAME"),
    click.argument("input_", metavar="[INPUT-JSON]", required=False),
    click.option("--id", "saga_id", metavar="ID", help="An id of your choice, 1 to 64 characters."),
    click.option("--key", metavar="TEXT", help="The same key and input give the same saga, started once."),
    click.option("--tag", "tags", multiple=True, callback=tags_of, metavar="NAME:VALUE", help="May be repeated."),
    click.option("--starts-at", callback=_time, metavar="TIME", help="When the saga begins: 2030-01-31T18:00:00Z."),
    click.option("--wait", is_flag=True, help="Wait for its end; exit 1 unless it is COMPLETED."),
    click.option("--timeout-s", type=click.FloatRange(min=0), metavar="SECONDS", help="With --wait: the longest wait."),
    as_json_option,
)
def start(
    settings: Settings, name: str, input_: str | None, wait: bool, timeout_s: float | None, as_json: bool, **how: Any
) -> None:
    """Start the saga NAME; print its id when its start is in the log.

    INPUT-JSON is an object; `-` reads it from stdin, and without it the input is empty. No engine runs here: the
    saga is PENDING until a `saga-es worker` or `serve` that knows it has capacity for it.
    """
    given = _object(sys.stdin.read() if input_ == "-" else input_)
    with reading(settings) as node:
        try:
            saga_id = node.client.start(name, given, **{**how, "tags": dict(how["tags"])}).saga_id
        except (DefinitionError, BadStart, BadStreamId, BadTags) as error:
            fail(str(error), USAGE)
        if not wait:
            output.show_started(saga_id, as_json=as_json)
            return
        errors.print(f"Started {saga_id}, waiting for its end (Ctrl-C stops waiting, not the saga)", markup=False)
        try:
            result = node.client.result(saga_id, timeout_s)
        except TimeoutError as error:
            fail(str(error), FAILURE)
        output.show_result(result, as_json=as_json)
        if not result.completed:
            sys.exit(FAILURE)


def _object(text: str | None) -> dict[str, Any]:
    try:
        given = {} if text is None else msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
        fail(f"INPUT-JSON: it is not JSON: {error}", USAGE)
    if not isinstance(given, dict):
        fail("INPUT-JSON: it is not a JSON object", USAGE)
    return given
