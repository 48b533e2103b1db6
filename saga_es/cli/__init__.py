"""The command line. Data goes to stdout, everything else to stderr; exit codes are part of the contract."""

from __future__ import annotations

import click

from saga_es.cli.check import check
from saga_es.cli.db import db
from saga_es.cli.doctor import doctor
from saga_es.cli.explaining import explain
from saga_es.cli.ordering import ORDERS, signal
from saga_es.cli.participant import participant
from saga_es.cli.reading import diff, events, list_, show
from saga_es.cli.replay import replay
from saga_es.cli.retention import archive, export, import_
from saga_es.cli.serve import serve
from saga_es.cli.starting import start
from saga_es.cli.verify import keygen, seal, verify
from saga_es.cli.working import recover, worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="saga-es")
@click.option("--database-url", metavar="URL", help="Where the log is; may also stand behind the command.")
@click.option("--app", metavar="MODULE", help="The application; may also stand behind the command.")
@click.pass_context
def main(context: click.Context, /, **flags: str | None) -> None:
    """Sagas over several services, every step an immutable event in your own database.

    Every setting is a flag, else an environment variable SAGA_ES_..., else its default. Where participants live
    is set by SAGA_ES_PARTICIPANT_<NAME>=http://host:port; without one, they are called within this process.

    Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 7 mismatch, 8 database unreachable or not migrated.
    """
    context.obj = {name: value for name, value in flags.items() if value is not None}


RUNNING = (serve, worker, recover, start)
READING = (list_, show, diff, explain, events, check, doctor, verify)
KEEPING = (replay, seal, keygen, archive, import_, export, db)
for command in (*RUNNING, *READING, signal, *ORDERS, participant, *KEEPING):
    main.add_command(command)
