"""Measures the cost of a large log: appends and lists with a million sagas."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.biglog import grow
from benchmarks.contender import Contender
from benchmarks.databases import fresh
from benchmarks.effort import Effort
from benchmarks.row import Row, middle
from benchmarks.servers import made_ready, saga_es

PAGES = 100


def big_log(effort: Effort) -> Iterator[Row]:
    """A million sagas in the log: a saga's time against an empty log, and a page of the list."""
    with fresh("sqlite") as url, fresh("sqlite") as empty:
        grow(url, effort.sagas)
        with Contender("ours", url) as big, Contender("ours", empty) as small:
            rounds = [
                [who.ask("load", callers=64, seconds=effort.seconds) for who in (big, small)]
                for _ in range(effort.rounds + 1)
            ][1:]
        pages = _pages(url)
    with_many, with_none = [r[0] for r in rounds], [r[1] for r in rounds]
    what = f"{effort.sagas:,} sagas of ten events in the log, SQLite"
    yield Row(
        what=f"{what}: a saga's time against an empty log",
        ours=f"{1e6 / middle(with_many, 'per_s'):,.0f} µs",
        peer=f"{1e6 / middle(with_none, 'per_s'):,.0f} µs",
        value=median(none["per_s"] / many["per_s"] for many, none in rounds),
        target=1.2,
        better="most",
        figures={"big": with_many, "empty": with_none},
    )
    yield Row(
        what=f"{what}: a page of the list over HTTP, p50",
        ours=f"{median(pages):.1f} ms",
        value=median(pages),
        target=10.0,
        better="most",
        unit="ms",
        figures={"pages_ms": pages},
    )


def _pages(url: str) -> list[float]:
    took = []
    made_ready(url)  # the first start would build the demonstration's views from the whole log
    with saga_es(url) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for _ in range(PAGES):
            began = time.perf_counter()
            connection.request("GET", "/api/saga/list?status=COMPLETED")
            answer = connection.getresponse()
            answer.read()
            took.append((time.perf_counter() - began) * 1e3)
            assert answer.status == 200  # noqa: PLR2004 (OK)
    return took
