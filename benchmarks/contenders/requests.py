"""Many HTTP calls at once: `python -m benchmarks.contenders.requests ours URL PORT` or `… bare PORT`.

`ours` runs sagas of four requests. `bare` makes the same requests with an asyncio client that stores nothing.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

from benchmarks.contenders.asked import Answers, answer_all
from benchmarks.servers import rss_mb
from saga_es import Participant, Saga, open_engine

STEPS = 4
PATH = "/wait/0.3"
TIMEOUT_S = 300.0

_OPEN = ExitStack()


def _ours(url: str, port: str) -> Answers:
    saga, venue = Saga("requests"), Participant("venue")
    for number in range(STEPS):
        saga.request(f"step_{number + 1}", venue.post(PATH), compensation=None, timeout_s=TIMEOUT_S)
    engine = _OPEN.enter_context(
        open_engine(
            url,
            saga,
            log_level="warning",
            participants={"venue": f"http://127.0.0.1:{port}"},
            sagas_at_once=100_000,
            calls_at_once=100_000,
        )
    )

    def run(count: int) -> dict[str, Any]:
        """Start so many sagas, and wait for their ends."""
        began, spent = time.perf_counter(), time.process_time()
        handles = [engine.start(saga, wait=False) for _ in range(count)]
        ended = Counter(str(handle.result(TIMEOUT_S).status) for handle in handles)
        return {**_since(began, spent), "ended": ended}

    return {"run": run}


def _bare(port: str) -> Answers:
    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        for _ in range(STEPS):
            writer.write(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    async def all_of(count: int) -> None:
        await asyncio.gather(*(one() for _ in range(count)))

    def run(count: int) -> dict[str, Any]:
        """Make the requests of so many sagas."""
        began, spent = time.perf_counter(), time.process_time()
        asyncio.run(all_of(count))
        return _since(began, spent)

    return {"run": run}


def _since(began: float, spent: float) -> dict[str, Any]:
    return {
        "took_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - spent,
        "rss_mb": rss_mb(os.getpid()),
    }


def _ready() -> Answers:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    which, *arguments = sys.argv[1:]
    return _ours(*arguments) if which == "ours" else _bare(*arguments)


if __name__ == "__main__":
    answer_all(_ready)
