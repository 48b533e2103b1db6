"""Measures `POST /api/saga/execute` against the in-memory demo, the start-up, and an idle server."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from benchmarks.contender import Unable
from benchmarks.contenders.asked import load
from benchmarks.databases import fresh
from benchmarks.effort import Effort
from benchmarks.row import Row, middle, ratio_of
from benchmarks.servers import Server, demo, free_port, saga_es

CLIENTS = 8
BODY = json.dumps({"name": "Evening Concert"}).encode()
SERVICES = "event,event-details,venue,ticket"


def execute(effort: Effort) -> Iterator[Row]:
    """POST execute with eight clients, durable, on SQLite and the default server, against the in-memory demo."""
    for participants, target, served in (
        ("participants in the process", 5.0, _one_process),
        ("services in a second process over HTTP", 2.5, _two_processes),
    ):
        what = f"POST execute, 8 clients, {participants}, against the in-memory demo"
        try:
            with served() as ours, demo() as baseline:
                yield _against_demo(what, target, ours, baseline, effort)
        except Unable as error:
            yield Row(what=what, target=target, note=str(error))


def _against_demo(what: str, target: float, ours: Server, baseline: Server, effort: Effort) -> Row:
    rounds = [
        (_executed(ours.port, effort.seconds), _executed(baseline.port, effort.seconds))
        for _ in range(effort.rounds + 1)
    ]
    mine, theirs = [r[0] for r in rounds[1:]], [r[1] for r in rounds[1:]]
    return Row(
        what=what,
        ours=f"{middle(mine, 'per_s'):,.0f}/s",
        peer=f"{middle(theirs, 'per_s'):,.0f}/s",
        value=ratio_of(mine, theirs, "per_s"),
        target=target,
        figures={"ours": mine, "demo": theirs},
    )


@contextmanager
def _one_process() -> Iterator[Server]:
    """One server with the saga and the services."""
    with fresh("sqlite") as url, saga_es(url) as server:
        yield server


@contextmanager
def _two_processes() -> Iterator[Server]:
    """The server of the saga. Its participants run in another process."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh("sqlite"))
        port = free_port()
        stack.enter_context(saga_es(url, "--only", SERVICES, port=port))
        names = SERVICES.upper().replace("-", "_").split(",")
        environment = {f"SAGA_ES_PARTICIPANT_{name}": f"http://127.0.0.1:{port}" for name in names}
        yield stack.enter_context(saga_es(url, "--only", "saga", environment=environment))


def _executed(port: int, seconds: float) -> dict[str, Any]:
    """Load from clients that each keep one connection open."""
    mine = threading.local()

    def once() -> None:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        mine.connection.request("POST", "/api/saga/execute", BODY, {"Content-Type": "application/json"})
        answer = mine.connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said  # noqa: PLR2004 (completed)

    return load(once, CLIENTS, seconds)


def start_up(effort: Effort) -> Iterator[Row]:
    """`saga-es serve`: the time from the command to the first answer."""
    new: list[float] = []
    there: list[float] = []
    cpu: list[float] = []
    for _ in range(effort.rounds):
        with fresh("sqlite") as url:
            for took in (new, there):
                with saga_es(url) as server:
                    took.append(server.answered - server.began)
                    cpu.append(server.cpu_s())
    yield Row(
        what="saga-es serve: from the command to the first answer",
        ours=f"{median(there):.2f} s; {median(new):.2f} s with a database to be made",
        value=max(median(new), median(there)),
        target=1.5,
        better="most",
        unit="s",
        figures={"new_s": new, "there_s": there, "cpu_s": cpu},
    )


def idle(effort: Effort) -> Iterator[Row]:
    """The processor time and memory of a server without requests, after it has served some."""
    watch_s = effort.idle_s
    with fresh("sqlite") as url, saga_es(url) as server:
        _executed(server.port, 0.5)
        time.sleep(1.0)
        before = server.cpu_s()
        time.sleep(watch_s)
        cpu, rss = (server.cpu_s() - before) / watch_s * 100, server.rss_mb()
    figures = {"cpu_percent": cpu, "rss_mb": rss, "watched_s": watch_s}
    yield Row(
        what="idle server: processor",
        ours=f"{cpu:.2f} %",
        value=cpu,
        target=1.0,
        better="most",
        unit="%",
        figures=figures,
    )
    yield Row(
        what="idle server: memory",
        ours=f"{rss:.0f} MB",
        value=rss,
        target=90.0,
        better="most",
        unit="MB",
        figures=figures,
    )
