"""Measures publishing to each kind of broker: how fast a process of its own is, and what it costs the engine's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.biglog import grow
from benchmarks.contender import Contender, Unable
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
EVENTS_A_SECOND = 1_000
MOST_COST = 5.0


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


def cost(effort: Effort) -> Iterator[Row]:
    """What publishing 1,000 events a second takes of the engine's process: the share of a processor, with and without.

    Both run in turn. A process is bound by its processor, so what publishing takes of it is what its sagas lose.
    """
    for kind in brokers.KINDS:
        what = f"1,000 events a second, SQLite: of a processor, for publishing them to {kind}"
        try:
            place = brokers.place(kind)
            with (
                fresh("sqlite") as url,
                Contender("ours", url, f"--publish={place.url}") as publishing_too,
                fresh("sqlite") as other,
                Contender("ours", other) as alone,
            ):
                pairs = [(_busy(publishing_too, effort), _busy(alone, effort)) for _ in range(effort.rounds + 1)][1:]
        except (Absent, Unable) as error:
            yield Row(what=what, target=MOST_COST, better="most", unit="%", note=str(error))
            continue
        yield Row(
            what=what,
            ours=f"{100 * median(with_it for with_it, _ in pairs):.1f} %",
            peer=f"{100 * median(without for _, without in pairs):.1f} %",
            value=100 * median(with_it - without for with_it, without in pairs),
            target=MOST_COST,
            better="most",
            unit="%",
            figures={"busy": pairs},
        )


def _busy(contender: Contender, effort: Effort) -> float:
    return float(contender.ask("pace", a_second=EVENTS_A_SECOND / HAPPY_EVENTS, seconds=effort.seconds)["busy"])
