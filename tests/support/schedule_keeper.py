"""A process that keeps a schedule of each minute, in a time of its own that runs as fast as the database takes it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from saga_es import Every, Saga
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.schedules import Schedules
from saga_es.testing.clock import VirtualClock

BEGIN = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
MINUTES = 200

report = Saga("report")


@report.step(compensation=None)
def write() -> None:
    """Nothing: no worker runs the sagas."""


def node_at(url: str) -> Node:
    """A node that runs nothing."""
    return Node(Settings.load({"database_url": url}), App(sagas=[report]))


def keep(url: str, number: int) -> None:
    """Keep the schedule, minute by minute, and say which minute it is."""
    node = node_at(url)
    starts = Starts(node.store, [report], VirtualClock())
    starts.record_plans()
    every = Every("* * * * *", report, {"of": "each minute"}, tz="Europe/Berlin", missed="all", at_most=MINUTES)
    schedules = Schedules(node.store, starts, [every])
    for minute in range(MINUTES + 1):
        now = BEGIN + timedelta(minutes=minute, microseconds=number)  # no two rows are alike, as with real clocks
        while schedules.next_in_s(now) == 0:
            schedules.keep(now)
        print(minute, file=sys.stderr, flush=True)  # noqa: T201 (what the test reads)
    node.database.close()


if __name__ == "__main__":
    keep(sys.argv[1], int(sys.argv[2]))
