"""Measures many sagas: interrupted by a crash, and waiting for a signal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from benchmarks.contender import Contender
from benchmarks.databases import fresh
from benchmarks.effort import Effort
from benchmarks.row import Row
from saga_es.store.database import Database

LOOK_EVERY_S = 0.02
TIMEOUT_S = 120.0


def interrupted(effort: Effort) -> Iterator[Row]:
    """Kill -9 with one call of each of many sagas in flight; then a new process, timed from its start."""
    count = effort.interrupted
    with fresh("sqlite") as url, _reading(url) as database:
        with Contender("sleepers", url, "hold") as holder:
            holder.ask("start", count=count)
            _until(database, f"(SELECT count(*) FROM sagas WHERE current_step = 'second') = {count}")
            holder.kill()
        began = time.monotonic()
        with Contender("sleepers", url, "go"):
            # A worker takes over the sagas that it moves: an unfinished saga with an old owner does not move.
            living = "SELECT worker_id FROM saga_workers"
            _until(
                database, f"NOT EXISTS (SELECT * FROM sagas WHERE status <> 'COMPLETED' AND owner NOT IN ({living}))"
            )
            moving = time.monotonic() - began
            _until(database, f"(SELECT count(*) FROM sagas WHERE status = 'COMPLETED') = {count}")
            ended = time.monotonic() - began
    figures = {"sagas": count, "moving_s": moving, "ended_s": ended}
    what = f"{count:,} interrupted sagas after kill -9, SQLite, from the start of the process"
    yield Row(
        what=f"{what}: all moving",
        ours=f"{moving:.1f} s",
        value=moving,
        target=2.0,
        better="most",
        unit="s",
        figures=figures,
    )
    yield Row(
        what=f"{what}: all at their end",
        ours=f"{ended:.1f} s",
        value=ended,
        target=6.0,
        better="most",
        unit="s",
        figures=figures,
    )


def waiting(effort: Effort) -> Iterator[Row]:
    """Many sagas that wait for a signal, for at most a day: memory, and the time to wake one."""
    with fresh("sqlite") as url, Contender("sleepers", url, "wait") as sleeper:
        took = sum(sleeper.ask("start", count=10_000)["took_s"] for _ in range(effort.waiting // 10_000))
        cost = sleeper.ask("cost")
        woken = sleeper.ask("wake", count=50)
    what = f"{effort.waiting:,} sagas waiting"
    figures = {"started_s": took, **cost, **woken}
    yield Row(
        what=f"{what}: memory, with {cost['threads']} threads",
        ours=f"{cost['rss_mb']:.0f} MB",
        value=cost["rss_mb"],
        target=600.0,
        better="most",
        unit="MB",
        figures=figures,
    )
    yield Row(
        what=f"{what}: from the signal to the end of one (the worst of 50)",
        ours=f"{woken['worst_ms']:.1f} ms",
        value=woken["worst_ms"],
        target=100.0,
        better="most",
        unit="ms",
        figures=figures,
    )


@contextmanager
def _reading(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def _until(database: Database, condition: str) -> None:
    until = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until:
        with database.reading() as connection:
            if connection.scalar(sa.text(f"SELECT {condition}")):
                return
        time.sleep(LOOK_EVERY_S)
    raise TimeoutError(f"not within {TIMEOUT_S:g} s: {condition}")
