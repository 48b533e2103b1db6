"""Measures many HTTP calls at once, against a client that stores nothing."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.contender import Contender, Unable
from benchmarks.databases import fresh
from benchmarks.effort import Effort
from benchmarks.overload import participant
from benchmarks.row import Row, middle, ratio_of


def requests(effort: Effort) -> Iterator[Row]:
    """Thousands of sagas at once, each of four HTTP calls of 300 ms, against an asyncio client that stores nothing."""
    count = effort.requests
    what = f"{count:,} sagas at once of four HTTP calls of 300 ms, SQLite"
    ours: list[dict[str, float]] = []
    bare: list[dict[str, float]] = []
    for _ in range(max(1, effort.rounds // 2)):
        with participant() as port:
            with fresh("sqlite") as url, Contender("requests", "ours", url, str(port)) as sagas:
                told = sagas.ask("run", count=count)
                if told.pop("ended") != {"COMPLETED": count}:
                    raise Unable("not all sagas completed")
                ours.append(told)
            with Contender("requests", "bare", str(port)) as client:
                bare.append(client.ask("run", count=count))
    figures = {"sagas": count, "ours": ours, "bare": bare}
    yield Row(
        what=f"{what}: all at their end, against an asyncio client that makes the same calls and stores nothing",
        ours=f"{middle(ours, 'took_s'):.1f} s",
        peer=f"{middle(bare, 'took_s'):.1f} s",
        value=ratio_of(ours, bare, "took_s"),
        target=2.0,
        better="most",
        figures=figures,
    )
    memory = max(one["rss_mb"] for one in ours)
    yield Row(what=f"{what}: memory", ours=f"{memory:.0f} MB", value=memory, target=400.0, better="most", unit="MB")
