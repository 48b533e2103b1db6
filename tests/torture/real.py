"""Kill -9 of real processes on real databases, part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from rich.progress import Progress
from rich.table import Table

from tests.support.databases import fresh_database
from tests.torture.brokered import BrokeredCampaign
from tests.torture.cutting import cut_everywhere
from tests.torture.failover import failed_over
from tests.torture.hosts import HostsCampaign
from tests.torture.kills import Campaign
from tests.torture.migrating import killed_migrations
from tests.torture.reckoning import Found
from tests.torture.served import ServedCampaign

KILLS_AT_ONCE = 25
"""Kills on one database, before everything is looked at and the next part has its turn."""

Killed = Callable[[], object]
Work = Callable[[str, Path, int, Killed], Found]
"""Takes an empty database, a folder, a seed, and whom to tell of kills."""

INTO = ("an action", "a compensation", "a takeover", "a wait")


@dataclass(frozen=True)
class Part:
    """A line of the table."""

    title: str
    kind: str
    work: Work


def _workers(workers: int) -> Work:
    return lambda url, folder, seed, killed: Campaign(url, folder, workers, seed).run(KILLS_AT_ONCE, killed)


def _server(url: str, _folder: Path, seed: int, killed: Killed) -> Found:
    return ServedCampaign(url, seed).run(KILLS_AT_ONCE, killed)


def _migration(url: str, _folder: Path, seed: int, killed: Killed) -> Found:
    return Found(faults=killed_migrations(url, Random(seed), is_old=seed % 2 == 1, killed=killed))


def _cut(url: str, folder: Path, seed: int, killed: Killed) -> Found:
    return cut_everywhere(url, folder, loses_answer=seed % 2 == 1, was_cut=killed)


def _hosts(url: str, folder: Path, seed: int, killed: Killed) -> Found:
    return HostsCampaign(url, folder, seed).run(KILLS_AT_ONCE, killed)


def _failover(_url: str, folder: Path, seed: int, killed: Killed) -> Found:
    return failed_over(folder, seed, killed)


def _broker(kind: str) -> Work:
    return lambda url, _folder, seed, killed: BrokeredCampaign(url, kind, seed).run(KILLS_AT_ONCE, killed)


NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}
WORKS = {
    "one worker": _workers(1),
    "two workers": _workers(2),
    "the server over HTTP": _server,
    "migrations": _migration,
}
PARTS = [Part(f"{name}: {title}", kind, work) for title, work in WORKS.items() for kind, name in NAMES.items()]
PARTS += [Part(f"{NAMES[kind]}: three hosts, killed and frozen", kind, _hosts) for kind in ("postgresql", "mariadb")]
PARTS += [Part("PostgreSQL: failover to a synchronous standby", "postgresql", _failover)]
PARTS += [Part(f"{NAMES[kind]}: cut connections", kind, _cut) for kind in ("postgresql", "mariadb")]
BROKERED = {
    "rabbitmq": "RabbitMQ: broker, participant, publisher",
    "nats": "NATS: broker, participant, publisher",
    "redis": "Redis: broker, publisher",
    "kafka": "Kafka: broker that hangs, publisher",
}
PARTS += [Part(title, "sqlite", _broker(kind)) for kind, title in BROKERED.items()]


def run_real(parts: Sequence[Part], kills: int, until: float, progress: Progress) -> tuple[Table, list[str]]:
    """Kill so many processes in all, or as many as fit into the time; the table, and what is wrong.

    Args:
        parts: What to do; they take turns.
        kills: Of all parts together.
        until: When to begin nothing more, by the monotonic clock, in seconds.
        progress: Where to show how far it is.
    """
    task = progress.add_task("kills", total=kills)
    rows = {part.title: Found() for part in parts}
    count = dict.fromkeys(rows, 0)
    seed = 0
    while sum(count.values()) < kills and time.monotonic() < until:
        part = parts[seed % len(parts)]

        def killed(title: str = part.title) -> None:
            count[title] += 1
            progress.advance(task)

        rows[part.title].add(_one(part, seed // len(parts), killed))
        seed += 1
    return _table(rows, count), [f"{title}: {fault}" for title, found in rows.items() for fault in found.faults]


def _one(part: Part, seed: int, killed: Killed) -> Found:
    with TemporaryDirectory() as folder, fresh_database(part.kind, Path(folder)) as url:
        try:
            return part.work(url, Path(folder), seed, killed)
        except AssertionError as error:
            return Found(faults=[f"with seed {seed}: {error}"])


def _table(rows: dict[str, Found], count: dict[str, int]) -> Table:
    columns = [*(f"into {into}" for into in INTO), "sagas", "completed", "compensated", "failed", "violations"]
    shown = Table("kill -9 of real processes", "kills", *columns)
    total = Found()
    for title, found in rows.items():
        shown.add_row(title, f"{count[title]:,}", *_cells(found))
        total.add(found)
    shown.add_section()
    shown.add_row("all", f"{sum(count.values()):,}", *_cells(total))
    return shown


def _cells(found: Found) -> list[str]:
    ends = [found.ends[end] for end in ("COMPLETED", "COMPENSATED", "FAILED")]
    numbers = [*(found.interrupted[into] for into in INTO), found.ends.total(), *ends, len(found.faults)]
    return [f"{number:,}" for number in numbers]
