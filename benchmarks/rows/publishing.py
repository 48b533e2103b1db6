"""Measures `saga-es publish`: how fast a process of its own publishes a log to each kind of broker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.biglog import grow
from benchmarks.contender import Unable
from benchmarks.contenders.work import HAPPY_EVENTS
from benchmarks.databases import fresh
from benchmarks.effort import Effort
from benchmarks.row import Row
from benchmarks.servers import PROJECT
from saga_es.store.database import Database
from saga_es.store.publishers import Publishers
from tests.support import brokers
from tests.support.programs import Absent

LOOK_EVERY_S = 0.05
TIMEOUT_S = 300.0
TARGET = 10_000.0


def publishing(effort: Effort) -> Iterator[Row]:
    """`saga-es publish` to each broker, Kafka being librdkafka's mock: events a second, from a log on SQLite."""
    events = effort.replayed // 10
    for kind in brokers.KINDS:
        what = f"saga-es publish of {events:,} events from SQLite to {kind}"
        try:
            per_s = _published(kind, events)
        except (Absent, Unable) as error:
            yield Row(what=what, target=TARGET, unit="events/s", note=str(error))
        else:
            yield Row(what=what, ours=f"{per_s:,.0f} events/s", value=per_s, target=TARGET, unit="events/s")


def _published(kind: str, events: int) -> float:
    """Events a second, from when it says that it publishes until nothing is left."""
    with fresh("sqlite") as url:
        grow(url, events // HAPPY_EVENTS)
        command = [sys.executable, "-m", "saga_es", "publish", "--database-url", url]
        place = brokers.place(kind)
        process = subprocess.Popen(
            [*command, "--publish", place.url],
            cwd=PROJECT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        database = Database(url)
        try:
            while "Publishing to " not in (line := process.stderr.readline()):
                if not line:
                    raise Unable("saga-es publish ended")
            began, rows = time.monotonic(), Publishers(database)
            while any(row.lag for row in rows.all()):
                if time.monotonic() - began > TIMEOUT_S:
                    raise Unable(f"not all was published within {TIMEOUT_S:g} s: {rows.all()}")
                time.sleep(LOOK_EVERY_S)
            return events / (time.monotonic() - began)
        finally:
            process.kill()
            process.communicate()
            database.close()
