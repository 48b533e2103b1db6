"""Measures sagas a second at full durability: against DBOS, against bare inserts, with failures, with two workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import Any

from msgspec.structs import replace

from benchmarks.contender import Contender, Unable
from benchmarks.contenders.work import HAPPY_EVENTS, REFUSED_EVENTS
from benchmarks.databases import KINDS, NAMES, fresh
from benchmarks.effort import Effort
from benchmarks.row import Row, middle, ratio_of

TIMES_DBOS = {
    ("sqlite", 64): 40.0,
    ("postgresql", 64): 35.0,
    ("sqlite", 8): 20.0,
    ("postgresql", 8): 13.0,
    ("sqlite", 1): 6.0,
    ("postgresql", 1): 5.0,
}
BATCH = 128
"""Rows of a raw batch: 64 callers have about one append of two events each in progress."""

Rounds = list[dict[str, Any]]


def against_dbos(effort: Effort) -> Iterator[Row]:
    """64, 8 and 1 callers, each with one saga at a time, against DBOS: sagas a second."""
    for (kind, callers), target in TIMES_DBOS.items():
        what = f"{callers} caller{'s' * (callers > 1)}, {NAMES[kind]}, against DBOS"

        def load(contender: Contender, callers: int = callers) -> dict[str, Any]:
            return contender.ask("load", callers=callers, seconds=effort.seconds)

        yield _compared(what, target, kind, "dbos_peer", effort, load, load)


def _compared(
    what: str,
    target: float,
    kind: str,
    peer: str,
    effort: Effort,
    measure_ours: Callable[[Contender], dict[str, Any]],
    measure_peer: Callable[[Contender], dict[str, Any]],
    mine: str = "ours",
) -> Row:
    """Measure both in turn, each on its own database. The first round warms up, and does not count.

    `peer` and `mine` name a module, and perhaps its options.
    """
    ours: Rounds = []
    peers: Rounds = []
    reason = ""
    (own, *of_own), (module, *options) = mine.split(), peer.split()
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(Contender(own, stack.enter_context(fresh(kind)), *of_own))
        except Unable as error:
            return Row(what=what, target=target, note=str(error))
        try:
            other = stack.enter_context(Contender(module, stack.enter_context(fresh(kind)), *options))
        except Unable as error:
            other, reason = None, str(error)
        for _ in range(effort.rounds + 1):
            ours.append(measure_ours(engine))
            peers += [measure_peer(other)] if other else []
    ours, peers = ours[1:], peers[1:]
    return Row(
        what=what,
        ours=f"{middle(ours, 'per_s'):,.0f}/s",
        peer=f"{middle(peers, 'per_s'):,.0f}/s" if peers else None,
        value=ratio_of(ours, peers, "per_s") if peers else None,
        target=target,
        note=reason,
        figures={mine: ours, peer: peers},
    )


def against_raw_batches(effort: Effort) -> Iterator[Row]:
    """64 callers against the log's rows alone, inserted in batches by one thread: sagas a second."""
    for kind in KINDS:
        yield _compared(
            f"64 callers, {NAMES[kind]}, against raw batched inserts of the same rows",
            1 / 3,
            kind,
            "raw",
            effort,
            lambda ours: ours.ask("load", callers=64, seconds=effort.seconds),
            lambda raw: raw.ask("batches", size=BATCH, seconds=effort.seconds),
        )


def latency(effort: Effort) -> Iterator[Row]:
    """One caller: a saga's time against the time of as many single-row commits as it has appends."""
    for kind in KINDS:
        what, target = f"1 caller, {NAMES[kind]}: p50 against five raw single-row commits", 1.6
        try:
            with (
                fresh(kind) as url,
                Contender("ours", url) as ours,
                fresh(kind) as other,
                Contender("raw", other) as raw,
            ):
                rounds = [
                    (
                        ours.ask("load", callers=1, seconds=effort.seconds),
                        raw.ask("singles", seconds=effort.seconds),
                    )
                    for _ in range(effort.rounds + 1)
                ]
        except Unable as error:
            yield Row(what=what, target=target, better="most", note=str(error))
            continue
        mine, bare = [r[0] for r in rounds[1:]], [r[1] for r in rounds[1:]]
        yield Row(
            what=what,
            ours=f"{middle(mine, 'p50_ms'):.2f} ms",
            peer=f"{middle(bare, 'p50_ms'):.2f} ms",
            value=ratio_of(mine, bare, "p50_ms"),
            target=target,
            better="most",
            figures={"ours": mine, "raw": bare},
        )


def failing_twin(effort: Effort) -> Iterator[Row]:
    """64 callers whose sagas fail at step four and compensate three, against the happy path: events a second."""
    for kind in KINDS:
        what, target = f"64 callers, {NAMES[kind]}: the failing twin's events against the happy path's", 0.7
        try:
            with fresh(kind) as url, Contender("ours", url) as ours:
                pairs = [
                    [ours.ask("load", work=work, callers=64, seconds=effort.seconds) for work in ("refused", "happy")]
                    for _ in range(effort.rounds + 1)
                ][1:]
        except Unable as error:
            yield Row(what=what, target=target, note=str(error))
            continue
        rates = [(refused["per_s"] * REFUSED_EVENTS, happy["per_s"] * HAPPY_EVENTS) for refused, happy in pairs]
        yield Row(
            what=what,
            ours=f"{median(rate[0] for rate in rates):,.0f} events/s",
            peer=f"{median(rate[1] for rate in rates):,.0f} events/s",
            value=median(refused / happy for refused, happy in rates),
            target=target,
            figures={"rounds": pairs},
        )


def two_workers(effort: Effort) -> Iterator[Row]:
    """Two processes on one PostgreSQL database, 64 callers each, against one with 64: sagas a second."""
    what, target = "two worker processes on PostgreSQL against one", 1.5
    figures: list[tuple[float, float]] = []
    try:
        with (
            fresh("postgresql") as url,
            Contender("ours", url) as one,
            Contender("ours", url) as two,
            ThreadPoolExecutor() as pool,
        ):
            for _ in range(effort.rounds + 1):
                alone = one.ask("load", callers=64, seconds=effort.seconds)["per_s"]
                both = pool.map(lambda who: who.ask("load", callers=64, seconds=effort.seconds)["per_s"], (one, two))
                figures.append((alone, sum(both)))
    except Unable as error:
        yield Row(what=what, target=target, note=str(error))
        return
    figures = figures[1:]
    yield Row(
        what=what,
        ours=f"{median(f[1] for f in figures):,.0f}/s",
        peer=f"{median(f[0] for f in figures):,.0f}/s",
        value=median(both / alone for alone, both in figures),
        target=target,
        figures={"rounds": figures},
    )


def counting(effort: Effort) -> Iterator[Row]:
    """64 callers with metrics, against the same without: processor time of a saga, which bounds sagas a second.

    Rates vary by more than what is measured here, so many short rounds are compared by the processor's clock.
    """
    short = replace(effort, rounds=6 * effort.rounds, seconds=effort.seconds / 2)

    def load(contender: Contender) -> dict[str, Any]:
        return contender.ask("load", callers=64, seconds=short.seconds)

    for kind in KINDS:
        what = f"64 callers, {NAMES[kind]}: processor time with metrics against without"
        row = _compared(what, 1.02, kind, "ours --uncounted", short, load, load)
        with_metrics, without = row.figures.get("ours", []), row.figures.get("ours --uncounted", [])
        if not with_metrics or not without:
            yield row
            continue
        yield replace(
            row,
            ours=f"{middle(with_metrics, 'cpu_us'):,.0f} us",
            peer=f"{middle(without, 'cpu_us'):,.0f} us",
            value=ratio_of(with_metrics, without, "cpu_us"),
            better="most",
        )


def lines(effort: Effort) -> Iterator[Row]:
    """64 callers with the log lines of `saga-es serve` (start and end of each saga), against the same without."""

    def load(contender: Contender) -> dict[str, Any]:
        return contender.ask("load", callers=64, seconds=effort.seconds)

    for kind in KINDS:
        what = f"64 callers, {NAMES[kind]}: with a line for the start and the end of each saga, against without"
        yield _compared(what, 0.85, kind, "ours", effort, load, load, "ours --with-lines")
