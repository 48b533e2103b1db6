"""Overload for real: more work than threads, and a participant that is slow or away (docs/reliability.md).

`python -m benchmarks.overload burst` starts many sagas at once whose requests take long, with default settings.
`python -m benchmarks.overload flood` keeps fifty times as many sagas going as there are threads, and watches others.
`python -m benchmarks.overload outage` takes the participant away for a minute, and counts what that wrote.

Each prints what it found as JSON. The exit code is 1 if a saga ended otherwise than COMPLETED, or a bar was not met.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Self

import click
import sqlalchemy as sa

from benchmarks.databases import KINDS, fresh
from benchmarks.machine import about
from benchmarks.servers import Server, free_port
from saga_es import Saga, open_engine
from saga_es.core.events import CompensationStarted, StepFailed, StepStarted
from saga_es.definition.requests import Participant
from saga_es.runtime.engine import Engine
from saga_es.runtime.handle import Handle
from saga_es.store.database import Database

OVERLOAD = 50
"""How many times as many sagas are under way as there are threads."""

LOOK_EVERY_S = 0.25
"""How often another saga is started, to see how long it takes."""

TIMEOUT_S = 3600.0
DEFAULT_THREADS = 32

Database_ = click.option("--database", type=click.Choice(KINDS), default="sqlite", show_default=True)


@click.group(help=__doc__)
def main() -> None:
    """Measure one thing."""


@main.command()
@click.option("--sagas", default=500, show_default=True)
@click.option("--steps", default=2, show_default=True)
@click.option("--step-s", default=20.0, show_default=True)
@Database_
def burst(sagas: int, steps: int, step_s: float, database: str) -> None:
    """Start so many sagas at once; a saga of another definition is started beside them again and again."""
    with participant() as slow, fresh(database) as url, engine_of(url, slow, steps, step_s) as engine:
        began = time.monotonic()
        with Others(engine) as others:
            handles = [engine.start("slow", wait=False) for _ in range(sagas)]
            ended = Counter(str(handle.result(TIMEOUT_S).status) for handle in handles)
        told = {"sagas": ended, "took_s": round(time.monotonic() - began, 1), **others.figures()}
        say(told, most_at_once=asked(slow)["most"], is_good=ended == {"COMPLETED": sagas})


@main.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--step-s", default=1.0, show_default=True)
@click.option("--threads", default=DEFAULT_THREADS, show_default=True)
@Database_
def flood(minutes: float, step_s: float, threads: int, database: str) -> None:
    """Keep fifty times as many sagas under way as there are threads; each that ends is followed by another."""
    with participant() as slow, fresh(database) as url, engine_of(url, slow, 1, step_s, threads) as engine:
        with Others(engine) as before:
            time.sleep(min(30.0, 60 * minutes / 4))
        alone = before.figures()
        with Others(engine) as others:
            ended = _keep_going(engine, OVERLOAD * threads, 60 * minutes)
        beside = others.figures()
        most = asked(slow)["most"]
        grown_s = max(beside[name]["p99_s"] - alone[name]["p99_s"] for name in ("quick", "signal", "cancel"))
        is_good = set(ended) == {"COMPLETED"} and most <= threads and grown_s < 2 * step_s
        told = {"sagas": ended, "alone": alone, "beside": beside, "p99_grew_by_s": round(grown_s, 3)}
        say(told, most_at_once=most, threads=threads, step_s=step_s, is_good=is_good)


@main.command()
@click.option("--sagas", default=10_000, show_default=True)
@click.option("--away-s", default=60.0, show_default=True)
@Database_
def outage(sagas: int, away_s: float, database: str) -> None:
    """Start so many sagas of two quick requests, end the participant for a while, and start it again."""
    port = free_port()
    with fresh(database) as url, engine_of(url, port, 2, 0.005) as engine:
        with participant(port):
            handles = [engine.start("slow", wait=False) for _ in range(sagas)]
            handles[sagas // 50].result(TIMEOUT_S)
        gone_at = time.monotonic()
        time.sleep(away_s)
        with participant(port):
            back_at = time.monotonic()
            ended = Counter(str(handle.result(TIMEOUT_S).status) for handle in handles)
            took_s = time.monotonic() - back_at
        counts = _events(url)
    told = {"sagas": ended, "away_s": round(back_at - gone_at, 1), "until_all_ended_s": round(took_s, 1)}
    more = counts[StepFailed.__name__] + counts[StepStarted.__name__] - 2 * sagas + counts[CompensationStarted.__name__]
    figures = {"events": sum(counts.values()), "attempts_more": more, "failed": counts[StepFailed.__name__]}
    say({**told, **figures}, is_good=ended == {"COMPLETED": sagas} and more <= 4 * sagas)


# ── What they share ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def participant(port: int | None = None) -> Iterator[int]:
    """A participant on a port, in a process of its own; it ends with the block."""
    port = port or free_port()
    command = [sys.executable, "-m", "benchmarks.contenders.slow_participant", str(port)]
    process = subprocess.Popen(command)
    try:
        Server(process, port, time.monotonic())
        yield port
    finally:
        process.kill()
        process.wait()


def asked(port: int) -> dict[str, int]:
    """What a participant saw."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/most")
    seen: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return seen


@contextmanager
def engine_of(url: str, port: int, steps: int, step_s: float, threads: int = DEFAULT_THREADS) -> Iterator[Engine]:
    """An engine of the sagas: `slow` calls the participant, `quick` calls a function, `asked` waits for a signal."""
    slow, quick, waits = Saga("slow"), Saga("quick"), Saga("asked")
    venue = Participant("venue")
    for number in range(steps):
        name = f"step_{number + 1}"
        slow.request(name, venue.post(f"/wait/{step_s:g}"), compensation=venue.post("/wait/0"))
    quick.step(compensation=None)(_at_once)
    waits.wait_for("answer", timeout_s=None)
    participants = {"venue": f"http://127.0.0.1:{port}"}
    limits: dict[str, dict[str, float]] = {"venue": {"calls": threads}}
    with open_engine(url, slow, quick, waits, call_threads=threads, participants=participants, limits=limits) as engine:
        yield engine


def _at_once() -> int:
    return 1


class Others:
    """Sagas that have nothing to do with the slow ones, started again and again: how long each takes.

    One of a function that returns at once, one that waits for a signal and gets it, and a cancel of such a one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._took: dict[str, list[float]] = {"quick": [], "signal": [], "cancel": []}
        self.ended: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[str, Any]:
        """The median and the 99th percentile of each, and how they ended."""
        return {**{name: _spread(took) for name, took in self._took.items()}, "others": self.ended}

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self._time("quick", lambda: self._engine.start("quick"))
            asked_ = self._engine.start("asked")
            self._time("signal", lambda handle=asked_: self._signal(handle))  # type: ignore[misc]
            left = self._engine.start("asked")
            self._time("cancel", lambda handle=left: self._cancel(handle))  # type: ignore[misc]

    def _signal(self, handle: Handle) -> Handle:
        self._engine.signal(handle.saga_id, "answer", 1)
        return handle

    def _cancel(self, handle: Handle) -> Handle:
        self._engine.cancel(handle.saga_id, reason="not wanted", actor="benchmark")
        return handle

    def _time(self, name: str, act: Callable[[], Handle]) -> None:
        began = time.monotonic()
        status = act().result(TIMEOUT_S).status
        self._took[name].append(time.monotonic() - began)
        self.ended[f"{name} {status}"] += 1


def _keep_going(engine: Engine, count: int, seconds: float) -> dict[str, int]:
    """Keep so many sagas under way for so long, and wait for the end of all; how they ended."""
    until = time.monotonic() + seconds
    ended: Counter[str] = Counter()
    ends: SimpleQueue[str] = SimpleQueue()

    def start() -> None:
        engine.start("slow", wait=False).when_ended(lambda future: ends.put(str(future.result().status)))

    for _ in range(count):
        start()
    left = count
    while left:
        ended[ends.get(timeout=TIMEOUT_S)] += 1
        if time.monotonic() < until:
            start()
        else:
            left -= 1
    return ended


def _spread(took: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(took, n=100)
    figures = {"p50_s": cuts[49], "p99_s": cuts[98], "most_s": max(took)}
    return {name: round(value, 4) for name, value in figures.items()} | {"count": len(took)}


def _events(url: str) -> Counter[str]:
    """How many events of each type the log holds."""
    database = Database(url)
    query = sa.text("SELECT type, count(*) FROM saga_events GROUP BY type")
    with database.reading() as connection:
        counts = Counter({row[0]: row[1] for row in connection.execute(query)})
    database.close()
    return counts


def say(told: dict[str, Any], *, is_good: bool, **more: object) -> None:
    """Print what was found."""
    click.echo(
        json.dumps({"command": " ".join(sys.argv[1:]), **told, **more, "good": is_good, "where": about()}, indent=1)
    )
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
