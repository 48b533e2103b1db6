"""Measures `saga-es replay`, as a user starts it: all views are rebuilt from the log."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.biglog import grow
from benchmarks.contenders.work import HAPPY_EVENTS
from benchmarks.databases import fresh
from benchmarks.effort import Effort
from benchmarks.row import Row
from benchmarks.servers import PROJECT, rss_mb

LOOK_EVERY_S = 0.05


def replay(effort: Effort) -> Iterator[Row]:
    """`saga-es replay` of a long log: events a second, and memory against a log of a tenth.

    It rebuilds all views of the demonstration. Memory is flat if a log ten times as long needs no more of it.
    """
    took_s, peak_mb, report = _replayed(effort.replayed)
    _, small_mb, _ = _replayed(effort.replayed // 10)
    figures = {"took_s": took_s, "peak_mb": peak_mb, "peak_of_a_tenth_mb": small_mb, "report": report}
    per_s = report["events"] / report["took_s"]
    yield Row(
        what=f"replay of {effort.replayed:,} events, all views, SQLite, as it reports itself",
        ours=f"{per_s:,.0f} events/s; {took_s:.1f} s from the command to its end",
        value=per_s,
        target=100_000.0,
        unit="events/s",
        figures=figures,
    )
    yield Row(
        what=f"replay of {effort.replayed:,} events: memory at most, against a tenth of the events",
        ours=f"{peak_mb:.0f} MB",
        peer=f"{small_mb:.0f} MB",
        value=peak_mb / small_mb,
        target=1.5,
        better="most",
        figures=figures,
    )


def _replayed(events: int) -> tuple[float, float, dict[str, Any]]:
    """The time in seconds, the most memory in megabytes, and the report of the command."""
    with fresh("sqlite") as url:
        grow(url, events // HAPPY_EVENTS)
        began = time.monotonic()
        command = [sys.executable, "-m", "saga_es", "replay", "--json", "--database-url", url]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        peaks = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, peaks))
        watcher.start()
        said, _ = process.communicate()
        took_s = time.monotonic() - began
        watcher.join()
        assert process.returncode == 0, said
        return took_s, max(peaks), json.loads(said)


def _watch(process: subprocess.Popen[str], peaks: list[float]) -> None:
    while process.poll() is None:
        try:
            peaks.append(rss_mb(process.pid))
        except (OSError, StopIteration):  # it has just ended
            return
        time.sleep(LOOK_EVERY_S)
