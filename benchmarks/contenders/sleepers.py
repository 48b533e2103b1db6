"""Sagas that wait, or that are interrupted: `python -m benchmarks.contenders.sleepers URL hold|go|wait`."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.contenders.asked import Answers, answer_all
from benchmarks.contenders.work import INPUT, held, waits_for_signal
from benchmarks.servers import rss_mb
from saga_es import open_engine

_OPEN = ExitStack()


def _ready() -> Answers:
    url, mode = sys.argv[1:]
    saga = waits_for_signal if mode == "wait" else held(is_held=mode == "hold")
    engine = _OPEN.enter_context(open_engine(url, saga, log_level="warning", sagas_at_once=200_000))
    ids: list[str] = []

    def start(count: int) -> dict[str, Any]:
        """Start so many sagas; returns when all of them are in the log."""
        began = time.perf_counter()
        handles = [engine.start(saga, INPUT, wait=False) for _ in range(count)]
        for handle in handles:
            handle.started()
        ids.extend(handle.saga_id for handle in handles)
        return {"took_s": time.perf_counter() - began}

    def cost() -> dict[str, Any]:
        return {"rss_mb": rss_mb(os.getpid()), "threads": threading.active_count(), "active": engine.active}

    def wake(count: int) -> dict[str, Any]:
        """Send so many of them their signal, one after the other, and measure the time until each has ended."""
        took = []
        for saga_id in [ids.pop() for _ in range(count)]:
            began = time.perf_counter()
            engine.signal(saga_id, "approval", "yes")
            engine.follow(saga_id).result()
            took.append((time.perf_counter() - began) * 1e3)
        return {"p50_ms": sorted(took)[len(took) // 2], "worst_ms": max(took)}

    return {"start": start, "cost": cost, "wake": wake}


if __name__ == "__main__":
    answer_all(_ready)
