"""Measures a restart while very many sagas wait: when a signal to the newest is followed, and when all are taken over.

    python -m benchmarks.restart                      # 100,000 sagas on SQLite, PostgreSQL and MariaDB: some minutes
    python -m benchmarks.restart --sagas 20000 sqlite # for a first look

The sagas wait for a signal, under a worker that is gone. They are appended through the writer of the engine. Then a
fresh process opens an engine, and sends a signal to the newest saga at once. Meanwhile it starts sagas of one quick
step, one after the other. One saga, older than half of the others, waits for a time that has passed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.servers import PROJECT, rss_mb
from saga_es.core import events as e
from saga_es.definition.saga import Saga
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft
from tests.support.databases import KINDS, fresh_database

CHUNK = 2_000
LOOK_EVERY_S = 0.02
MOST_S = 900.0
GONE = "worker-that-is-gone"
START = datetime.now(UTC) - timedelta(days=1)


def waiting() -> Saga:
    """A saga that waits for a signal."""
    saga = Saga("waits")
    saga.wait_for("go", timeout_s=None)
    return saga


def timed() -> Saga:
    """A saga that waits for a time."""
    saga = Saga("timed")
    saga.delay("later", seconds=3_600.0)
    return saga


def quick() -> Saga:
    """A saga that does nothing, at once."""
    saga = Saga("quick")

    @saga.step(compensation=None)
    def act() -> None:
        pass

    return saga


def node_at(url: str) -> Node:
    """A process of these sagas."""
    return Node(Settings.load({"database_url": url}, environ={}), App(sagas=[waiting(), timed(), quick()]))


def saga_id(number: int) -> str:
    """The id of one of the sagas; ids are in no order, as in production."""
    return f"{number * 2_654_435_761 % 2**32:08x}-{number}"


def fill(url: str, many: int, payload: int) -> None:
    """Append sagas that wait, the oldest first, and in the middle one whose time has passed."""
    node = node_at(url)
    migrate.upgrade(node.database, node.store.log, node.views)
    saga, late = waiting(), timed()
    writer = node.store.writer
    plans = [Draft(s.plan_id, PLAN, 0, (e.PlanRecorded(s.plan),), START) for s in (saga, late)]
    writer.write([writer.prepare(draft) for draft in plans])
    input_ = {"text": "x" * payload}
    for first in range(0, many, CHUNK):
        drafts = []
        for number in range(first, min(first + CHUNK, many)):
            at = START + timedelta(milliseconds=number)
            started = e.SagaStarted(saga.name, saga.plan_id, input_, GONE)
            events = (started, e.WaitStarted("go"))
            drafts.append(Draft(saga_id(number), SAGA, 0, events, at))
        writer.write([writer.prepare(draft) for draft in drafts])
    at = START + timedelta(milliseconds=many // 2)
    events = (e.SagaStarted(late.name, late.plan_id, {}, GONE), e.WaitStarted("later", at))
    writer.write([writer.prepare(Draft("late", SAGA, 0, events, at))])
    node.database.close()


def restart(url: str, many: int) -> dict[str, Any]:
    """What a fresh process measures: seconds from the opening of its engine, and its memory."""
    node = node_at(url)
    before_mb = rss_mb(os.getpid())
    begun, cpu_before_s = time.monotonic(), time.process_time()
    node.open()
    engine = node.engine
    figures: dict[str, Any] = {"opened_s": time.monotonic() - begun}
    slowest = [0.0]
    is_over = threading.Event()
    starting = threading.Thread(target=_start_others, args=(engine, slowest, is_over))
    starting.start()
    late = engine.follow("late")
    late.when_ended(lambda _: figures.setdefault("due_s", time.monotonic() - begun))
    engine.signal(saga_id(many - 1), "go")
    figures["signal_recorded_s"] = time.monotonic() - begun
    engine.follow(saga_id(many - 1)).result(MOST_S)
    figures["signal_followed_s"] = time.monotonic() - begun
    late.result(MOST_S)
    while engine.active < many - 1:  # without the newest, which has ended; to ask the database would read all of them
        time.sleep(10 * LOOK_EVERY_S)
    figures["all_s"] = time.monotonic() - begun
    figures["cpu_s"] = time.process_time() - cpu_before_s
    is_over.set()
    starting.join()
    figures["slowest_start_s"] = slowest[0]
    figures["rss_mb"] = rss_mb(os.getpid())
    figures["before_mb"] = before_mb
    os.write(1, json.dumps(figures).encode())
    os._exit(0)  # a close would write nothing that is measured


def _start_others(engine: Any, slowest: list[float], is_over: threading.Event) -> None:
    while not is_over.wait(LOOK_EVERY_S):
        begun = time.monotonic()
        engine.start("quick", {}).result(MOST_S)
        slowest[0] = max(slowest[0], time.monotonic() - begun)


def measure(kind: str, many: int, payload: int) -> dict[str, Any]:
    """The figures of one database."""
    with tempfile.TemporaryDirectory() as folder, fresh_database(kind, Path(folder)) as url:
        fill(url, many, payload)
        command = [sys.executable, "-m", "benchmarks.restart", "--child", url, "--sagas", str(many)]
        said = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True, text=True).stdout
        figures: dict[str, Any] = json.loads(said.splitlines()[-1])
        return figures


COLUMNS = {
    "signal followed (s)": "signal_followed_s",
    "due saga ended (s)": "due_s",
    "slowest start (s)": "slowest_start_s",
    "all taken over (s)": "all_s",
    "of the processor (s)": "cpu_s",
    "RSS (MB)": "rss_mb",
}


@click.command(help=__doc__)
@click.argument("kinds", nargs=-1, type=click.Choice(KINDS))
@click.option("--sagas", "many", default=100_000, show_default=True, help="How many sagas wait.")
@click.option("--payload", default=100, show_default=True, help="Bytes of each input.")
@click.option("--child", hidden=True, help="The URL of a database that is filled.")
def main(kinds: tuple[str, ...], many: int, payload: int, child: str | None) -> None:
    """Measure each database, and print the table."""
    if child:
        restart(child, many)
    table = Table("database", *COLUMNS, box=None)
    for kind in kinds or KINDS:
        figures = measure(kind, many, payload)
        click.echo(f"{kind} {json.dumps(figures)}", err=True)
        table.add_row(kind, *(f"{figures[key]:.1f}" for key in COLUMNS.values()))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
