"""`saga-es publish`."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import NoReturn

import click

from saga_es.cli.options import PUBLISHING, USAGE, WAITING, app_of, fail, settings_options
from saga_es.cli.terminal import errors
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.waiting.outage import retry_for
from saga_es.store.admin import migrate

LOOK_EVERY_S = 0.25


@click.command(short_help="Publish the log to brokers and webhooks, and do nothing else, until stopped.")
@settings_options(*PUBLISHING, WAITING)
def publish(settings: Settings) -> None:
    """Publish what is new in the log, in a process of its own; run no sagas.

    A worker that has the same settings publishes, too: one process at a time does so, for each target. Leave the
    settings out of the workers' environment, and none of their time goes into it. SIGTERM and Ctrl-C stop it after the
    present delivery.
    """
    node = Node(settings, app_of(settings))
    if not node.publishers:
        fail("there is nothing to publish to: set --publish, --webhook or App(publish=[...])", USAGE)
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, _stop)
    try:
        wait_s = settings.database_wait_s if node.database.driver.has_server else 0.0
        retry_for(lambda: migrate.check(node.database), wait_s)
        for publisher in node.publishers:
            publisher.register()
            publisher.open()
        names = ", ".join(publisher.target.name for publisher in node.publishers)
        errors.print(f"Publishing to {names} (Ctrl-C stops)", markup=False, soft_wrap=True)
        while True:  # SystemExit ends the loop; a signal to another thread does not end this sleep, so it is short
            time.sleep(LOOK_EVERY_S)
    finally:
        for publisher in node.publishers:
            publisher.close()
        node.database.close()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit
