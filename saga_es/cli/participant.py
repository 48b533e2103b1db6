"""`saga-es participant check`; it needs no database and no application."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from saga_es.cli.options import FAILURE, MISMATCH, USAGE, as_json_option, fail
from saga_es.cli.terminal import cell, print_json, screen
from saga_es.core.describe import plain
from saga_es.errors import DefinitionError
from saga_es.queues.url import is_queue, parse_queue_url
from saga_es.runtime.calls.address import address_of
from saga_es.runtime.calls.credentials import check_written
from saga_es.runtime.calls.sources import NoCredentials

if TYPE_CHECKING:
    from saga_es.participant import Finding, Report

_COLOURS = {"passed": "green", "failed": "red", "not tried": "yellow"}


def _base_url(_context: click.Context, _argument: click.Parameter, text: str) -> str:
    try:
        parse_queue_url(text) if is_queue(text) else address_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


def _json(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    try:
        return None if text is None else msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}") from error


def _written(_context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    if text is not None:
        try:
            check_written(str(option.name), text)
        except NoCredentials as error:
            raise click.BadParameter(str(error)) from error
    return text


@click.group()
def participant() -> None:
    """Participants: the services that sagas call."""


@participant.command(short_help="Check whether sagas can safely call a service; exit 7 if not.")
@click.argument("url", metavar="URL", callback=_base_url)
@click.option("--action", required=True, metavar="CALL", help='The action of a step: "POST /rooms".')
@click.option(
    "--compensation",
    required=True,
    metavar="CALL",
    help='The call that undoes the action: "DELETE /rooms/{action_key}".',
)
@click.option(
    "--body", callback=_json, metavar="JSON", help='The body of the action; a string in it may be "{action_key}".'
)
@click.option(
    "--compensation-body", callback=_json, metavar="JSON", help="The body of the compensation.  [default: none]"
)
@click.option(
    "--probe",
    metavar="CALL",
    help='A call that is answered 2xx if the action has happened, else 404: "GET /rooms/{action_key}".',
)
@click.option(
    "--auth",
    callback=_written,
    metavar="TEXT",
    help='What the calls show: "bearer env:TOKEN", "basic file:/path" or "oauth2 URL CLIENT env:SECRET".',
)
@click.option(
    "--sign", callback=_written, metavar="TEXT", help='How the calls are signed: "ed25519 KEY-ID file:/path".'
)
@click.option("--timeout-s", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True)
@as_json_option
def check(url: str, as_json: bool, auth: str | None, sign: str | None, **calls: Any) -> None:
    """Check whether sagas can safely call the service at URL, whatever language it is written in.

    The check calls the service as sagas do when something goes wrong: again, several times at once, and with the
    compensation before the action. Each check has keys of its own, and undoes what it did; still, use a service with a
    test database. The compensation may contain {action_key}, the Idempotency-Key of its action, and {answer[...]}, a
    value of the action's answer. Exit 0 when the service passes; 7 when it fails a check; 1 when it does not answer.
    """
    from saga_es.definition.requests import Participant  # noqa: PLC0415 (the next line says why)
    from saga_es.participant import NotReachable, check_participant  # noqa: PLC0415 (it needs Flask: the other commands start faster)

    try:
        report = check_participant(url, shown=Participant("checked", auth=auth, sign=sign), **calls)
    except DefinitionError as error:
        fail(str(error), USAGE)
    except NotReachable as error:
        fail(str(error), FAILURE)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if not report.conforms:
        sys.exit(MISMATCH)


def _show(report: Report) -> None:
    console = screen()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("check", "result", "expected"):
        table.add_column(column)
    for finding in report.checks:
        table.add_row(cell(finding.check), cell(finding.verdict, _COLOURS[finding.verdict]), cell(finding.expected))
    console.print(table)
    for finding in report.checks:
        if finding.came:
            console.print()
            console.print(_details(finding), soft_wrap=True)


def _details(finding: Finding) -> Text:
    if finding.verdict == "not tried":
        return Text.assemble((finding.check, "bold"), plain(f": not tried: {finding.came}"))
    lines = [("expected", finding.expected), ("came", finding.came), ("why", finding.why)]
    texts = [text for word, words in lines for text in ((f"\n  {word:<10}", "dim"), plain(words or ""))]
    return Text.assemble((finding.check, "bold"), *texts)
