"""The command line. Data goes to stdout, everything else to stderr; exit codes are part of the contract."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import IO, Any

import click

from saga_es.cli.inherited import Inherited
from saga_es.errors import NotInstalled
from saga_es.node.extras import check_server

CANNOT_RUN = 78

COMMANDS = {
    "archive": ("retention:archive", "Move finished sagas from the log to files."),
    "batch": ("batch:batch", "One command for many sagas."),
    "cancel": ("commands:cancel", "Abort a saga, and compensate what was done."),
    "check": ("check:check", "Check what this code would do to the recorded sagas; exit 7 if some would not go on."),
    "db": ("db:db", "The database: migrations, grants and tables."),
    "diff": ("read:diff", "Show what changed in a saga from V1 to V2."),
    "doctor": ("doctor:doctor", "Check the database, its settings and the workers."),
    "erase": ("subjects:erase", "Erase a person: delete the key of a subject."),
    "events": ("read:events", "Print the events of one saga or record, or the whole log."),
    "explain": ("explain:explain", "Explain why a saga is not moving."),
    "export": ("retention:export", "Print one saga as a bundle that another installation can import."),
    "fail": ("commands:give_up", "Give a saga up as it stands: it is FAILED."),
    "failures": ("failures:failures", "Group the sagas that need attention by what went wrong."),
    "init": ("init:init", "Write a small application into an empty folder."),
    "import": ("retention:import_", "Bring the sagas of an archive or an export into the log."),
    "key": ("key:key", "API keys: who may call the HTTP API, and do what."),
    "keygen": ("verify:keygen", "Make a pair of keys for `seal` and `verify --against`."),
    "list": ("read:list_", "List sagas, newest first."),
    "migrate": ("migrate:migrate", "Let a saga go on under the present plan of its definition."),
    "participant": ("participant:participant", "Participants: the services that sagas call."),
    "pause": ("commands:pause", "Pause a saga: it begins nothing more until resumed."),
    "publish": ("publish:publish", "Publish the log to brokers and webhooks, and do nothing else, until stopped."),
    "publishers": ("publishers:publishers", "Show who is told about events, and how far; tell again, or forget one."),
    "recover": ("worker:recover", "Take over interrupted sagas, run them to their end, exit."),
    "replace-input": ("commands:replace_input", "FAILED: give a step another input, and retry it."),
    "replay": ("replay:replay", "Rebuild the views from the log."),
    "resolve": ("commands:resolve", "FAILED: end a saga that was set right by hand."),
    "resume": ("commands:resume", "Resume a paused saga."),
    "retry": ("commands:retry", "Retry at once."),
    "rotate": ("subjects:rotate", "Wrap the keys of subjects under the first key of the key file."),
    "schedule": ("schedule:schedule", "Schedules: list them, pause, resume, trigger one."),
    "seal": ("verify:seal", "Sign the heads of all streams, for `verify --against`."),
    "serve": ("serve:serve", "Migrate, recover interrupted sagas, and serve the application."),
    "show": ("read:show", "Show one saga: its steps, and its events in sentences."),
    "signal": ("commands:signal", "Send a saga a signal."),
    "skip": ("commands:skip", "FAILED: skip a step, and go on."),
    "start": ("start:start", "Start a saga, for a worker to run."),
    "verify": ("verify:verify", "Verify that the log is intact and the views are its fold; exit 7 if not."),
    "worker": ("worker:worker", "Run sagas without HTTP, beside any number of other workers."),
}
"""The module of each command in this package with its name there, and its line in the help, by the command's name.

The lines stand here, so that the help imports no command.
"""


class Refused(click.ClickException):
    """The commands cannot run in this environment: one line, and the exit code of a configuration error."""

    exit_code = CANNOT_RUN

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"saga-es: {self.message}", file=file or sys.stderr)


def _check_extra() -> None:
    try:
        check_server("for the command line")
    except NotInstalled as error:
        raise Refused(str(error)) from error


class Commands(click.Group):
    """The commands; each is imported only when it runs, so that `serve` starts sooner."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        del ctx
        return sorted(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of the commands, without an import of any."""
        del ctx
        _check_extra()
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None when there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        _check_extra()
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        with _no_look_for_garbage():
            command: click.Command = getattr(import_module(f"saga_es.cli.{module}"), name)
        return command


@contextmanager
def _no_look_for_garbage() -> Iterator[None]:
    """Nothing of what an import makes is garbage; to look for some took a twentieth of the time of `list`."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


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
