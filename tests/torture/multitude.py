"""Thousands of interrupted sagas: a process is killed with all of them under way, and the next takes them over.

    python -m tests.torture.multitude --sagas 10000

Each step is a function that takes some milliseconds; the participants count how many are called at the same time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec
import sqlalchemy as sa

from saga_es import App, Saga
from saga_es.core import events as e
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.database import Database
from saga_es.store.views.saga_view import sagas
from tests.simulation.every_way import quiet
from tests.torture.reckoning import broken_rules, streams_of

STEPS = ("seat", "hotel", "car", "bill")


class Measured(msgspec.Struct):
    """How a takeover went.

    Attributes:
        first_s: Seconds from the opening of the engine to the first takeover.
        all_moving_s: To the last.
        all_ended_s: To the end of the last saga.
        rss_before_mb: Memory before the engine opened.
        rss_peak_mb: The most that it had.
        most_at_once: Calls under way at the same time, at most.
        ends: Sagas by their status.
    """

    sagas: int
    first_s: float
    all_moving_s: float
    all_ended_s: float
    rss_before_mb: float
    rss_peak_mb: float
    most_at_once: int
    ends: dict[str, int]


class Crowd:
    """Participants that count who is there."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._here = 0
        self.most = 0

    def visit(self) -> None:
        """Stay a while."""
        with self._lock:
            self._here += 1
            self.most = max(self.most, self._here)
        time.sleep(self._seconds)
        with self._lock:
            self._here -= 1


def app_of(crowd: Crowd) -> App:
    """A saga of four steps that all go to the same crowd."""
    saga = Saga("outing")
    for name in STEPS:

        def step(input: dict[str, int]) -> dict[str, int]:  # noqa: A002 (the name a step asks for)
            crowd.visit()
            return input

        step.__name__ = name
        saga.step(compensation=None)(step)
    return App(name="outings", version="1", sagas=[saga])


def interrupted(url: str, count: int) -> None:
    """Leave so many sagas under way, and die of kill -9."""
    node = Node(Settings.load({"database_url": url}, environ={}), app_of(Crowd(3600)))
    node.open()
    handles = [node.engine.start("outing", {"number": number}, wait=False) for number in range(count)]
    for handle in handles:
        handle.started()
    os.kill(os.getpid(), signal.SIGKILL)


def taken_over(url: str, call_s: float, call_threads: int) -> Measured:
    """Take over all that is there, and see it through."""
    crowd = Crowd(call_s)
    settings = Settings.load({"database_url": url, "call_threads": call_threads, "grace_s": 0}, environ={})
    node = Node(settings, app_of(crowd))
    before, began = _rss_mb("VmRSS"), time.time()
    node.open()
    count = _wait_for_the_end(node.database)
    ended = time.time()
    entries = [entry for entry in node.store.log.walk() if entry.type == e.SagaTakenOver.__name__]
    at = [entry.recorded_at.timestamp() - began for entry in entries]
    peak = _rss_mb("VmHWM")
    faults = [fault for state, history in streams_of(node.store.log) for fault in broken_rules(state, history)]
    assert not faults, faults[:3]
    node.close()
    return Measured(len(at), min(at), max(at), ended - began, before, peak, crowd.most, count)


def _wait_for_the_end(database: Database) -> dict[str, int]:
    query = sa.select(sagas.c.status, sa.func.count().label("sagas")).group_by(sagas.c.status)
    while True:
        with database.reading() as connection:
            found = {row.status: row.sagas for row in connection.execute(query)}
        if not {"PENDING", "IN_PROGRESS", "COMPENSATING"} & found.keys():
            return found
        time.sleep(0.1)


def _rss_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def measure(url: str, count: int, call_s: float, call_threads: int) -> Measured:
    """Both, each in a process of its own."""
    own = [sys.executable, "-m", "tests.torture.multitude", "--url", url]
    killed = subprocess.run([*own, "--leave", str(count)], check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    options = ["--call-s", str(call_s), "--call-threads", str(call_threads)]
    done = subprocess.run([*own, "--take-over", *options], check=True, capture_output=True)
    return msgspec.json.decode(done.stdout, type=Measured)


@click.command()
@click.option("--sagas", "count", default=10_000, show_default=True, help="How many are interrupted.")
@click.option("--call-s", default=0.005, show_default=True, help="How long a call takes, in seconds.")
@click.option("--call-threads", default=32, show_default=True, help="The setting of the same name.")
@click.option("--url", hidden=True)
@click.option("--leave", type=int, hidden=True)
@click.option("--take-over", is_flag=True, hidden=True)
def main(count: int, call_s: float, call_threads: int, url: str | None, leave: int | None, *, take_over: bool) -> None:
    """Kill a process with so many sagas under way on SQLite, and measure how the next one takes them over."""
    quiet()
    if leave:
        interrupted(url or "", leave)
    elif take_over:
        sys.stdout.buffer.write(msgspec.json.encode(taken_over(url or "", call_s, call_threads)))
    else:
        with TemporaryDirectory() as folder:
            print(measure(f"sqlite:///{folder}/saga.sqlite", count, call_s, call_threads))  # noqa: T201 (data)


if __name__ == "__main__":
    main()
