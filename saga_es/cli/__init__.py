"""The command line. Data goes to stdout, everything else to stderr; exit codes are part of the contract."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import IO, Any

import click

from saga_es.cli.inherited import Inherited
from saga_es.errors import NotInstalled
from saga_es.node.extras import check_server

CANNOT_RUN = 78

COMMANDS = {
    "archive": "retention:archive",
    "batch": "batch:batch",
    "cancel": "commands:cancel",
    "check": "check:check",
    "db": "db:db",
    "diff": "read:diff",
    "doctor": "doctor:doctor",
    "events": "read:events",
    "explain": "explain:explain",
    "export": "retention:export",
    "fail": "commands:give_up",
    "failures": "failures:failures",
    "import": "retention:import_",
    "key": "key:key",
    "keygen": "verify:keygen",
    "list": "read:list_",
    "migrate": "migrate:migrate",
    "participant": "participant:participant",
    "pause": "commands:pause",
    "publish": "publish:publish",
    "publishers": "publishers:publishers",
    "recover": "worker:recover",
    "replace-input": "commands:replace_input",
    "replay": "replay:replay",
    "resolve": "commands:resolve",
    "resume": "commands:resume",
    "retry": "commands:retry",
    "seal": "verify:seal",
    "serve": "serve:serve",
    "show": "read:show",
    "signal": "commands:signal",
    "skip": "commands:skip",
    "start": "start:start",
    "verify": "verify:verify",
    "worker": "worker:worker",
}
"""The module of each command in this package, and its name in that module, by the command's name."""


class Refused(click.ClickException):
    """The commands cannot run in this environment: one line, and the exit code of a configuration error."""

    exit_code = CANNOT_RUN

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"saga-es: {self.message}", file=file or sys.stderr)


class Commands(click.Group):
    """The commands; each is imported only when it runs, so that `serve` starts sooner."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None when there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            check_server("for the command line")
        except NotInstalled as error:
            raise Refused(str(error)) from error
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"saga_es.cli.{module}"), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="saga-es")
@click.option("--database-url", metavar="URL", help="The database of the log; may also follow the command.")
@click.option("--database-url-file", metavar="FILE", help="The file that holds that URL; as above.")
@click.option("--app", metavar="MODULE", help="The application; may also follow the command.")
@click.pass_context
def main(context: click.Context, /, **flags: str | None) -> None:
    """Sagas over several services, every step an immutable event in your own database.

    Every setting is a flag, else an environment variable SAGA_ES_..., else its default. The setting
    SAGA_ES_PARTICIPANT_<NAME>=http://host:port is the base URL of a participant; without it, the participant is
    called within this process.

    Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 7 mismatch, 8 database unreachable or not migrated.
    """
    context.obj = Inherited({name: value for name, value in flags.items() if value is not None})
