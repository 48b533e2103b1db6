"""`saga-es worker` and `saga-es recover`: run sagas without HTTP."""

from __future__ import annotations

import os
import sys

import click

from saga_es.cli import output
from saga_es.cli.options import FAILURE, PROBES, RUNNING, WAITING, app_of, as_json_option, settings_options
from saga_es.cli.terminal import errors
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.node.unknown import warn_of_unknown_variables


@click.command(short_help="Run sagas without HTTP, beside any number of other workers.")
@settings_options(
    *RUNNING,
    *PROBES,
    WAITING,
    click.option("--drain", is_flag=True, help="Run only what no other worker can run; exit when that has ended."),
)
def worker(settings: Settings, *, drain: bool) -> None:
    """Migrate, take over interrupted sagas, claim sagas that wait for a worker, and run them until stopped.

    Any number of workers share one database; one worker runs each saga. A participant without a base URL is called
    within this process. SIGTERM and Ctrl-C stop gracefully: other workers go on with the unfinished sagas.

    With --drain, it leaves every saga to the other workers that one of them can run, new ones too. It runs the others,
    and exits with 0 when none is left: then no saga needs a worker of this version any more.
    """
    from saga_es.cli.work import Draining, work  # noqa: PLC0415 (needs Flask, for the participants in this process)

    app = app_of(settings)
    node = Node(settings, app, drains=drain)
    warn_of_unknown_variables(os.environ, node.participants)
    names = ", ".join(saga.name for saga in app.definitions) or "no sagas: set --app"
    what = "Draining" if drain else "Working"
    ready = f"{what} as {node.engine.worker_id} on {names} (Ctrl-C stops)"
    is_done = Draining(node).is_done if drain else lambda: False
    work(node, lambda: errors.print(ready, markup=False, soft_wrap=True), is_done)  # one line, also in a journal
    errors.print("Drained: no saga is left that only a worker of this version can run.", markup=False, soft_wrap=True)


@click.command(short_help="Take over interrupted sagas, run them to their end, exit.")
@settings_options(*RUNNING, as_json_option)
def recover(settings: Settings, as_json: bool) -> None:
    """Take over the sagas that no living worker owns, run them to their end, and exit.

    A saga that waits for a signal, a time or a person cannot end here: it is printed, and left to the next worker.
    Exit 0 when all have ended, 1 when some are left.
    """
    from saga_es.cli.work import recover as run_to_the_end  # noqa: PLC0415 (needs Flask, as above)

    recovered = run_to_the_end(Node(settings, app_of(settings)))
    output.show_recovery(recovered.ended, recovered.left, as_json=as_json)
    if recovered.left:
        sys.exit(FAILURE)
