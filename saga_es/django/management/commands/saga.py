"""`manage.py saga …`: the commands of `saga-es`, with the settings and the application of the project."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from typing import Any

import click
from django.core.management.base import BaseCommand

from saga_es.cli import Commands
from saga_es.cli.inherited import Inherited
from saga_es.django.configured import configured


@click.group("saga", cls=Commands)
@click.pass_context
def saga(context: click.Context) -> None:
    """Read, command and run sagas."""
    app, flags = configured()
    context.obj = Inherited(flags, app)


class Command(BaseCommand):
    """Hands all its words on."""

    help = "Read, command and run sagas: `manage.py saga --help` lists the commands."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's name and type)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run, as `manage.py` asks; the options are those of the commands of saga_es."""
        saga.main(argv[2:], prog_name=f"{argv[0]} saga")

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take any words, as `call_command` passes them."""
        parser.add_argument("words", nargs=REMAINDER)

    def handle(self, *_: Any, **options: Any) -> None:
        """Run, as `call_command` asks."""
        saga.main(options["words"], prog_name="manage.py saga", standalone_mode=False)
