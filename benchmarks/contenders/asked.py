"""The contender's end of the pipe: a question a line, as JSON, and its answer a line."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

Answers = Mapping[str, Callable[..., dict[str, Any]]]


def answer_all(make: Callable[[], Answers]) -> None:
    """Get ready, say so, then answer until nobody asks any more. What else is printed goes to stderr.

    Args:
        make: Gets ready; what it raises is told as the reason for which this contender cannot run.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        answers = make()
    except Exception as error:  # noqa: BLE001 (whatever is missing: the row says so, and prints no ratio)
        _say(out, {"unable": " ".join(f"{type(error).__name__}: {error}".split())[:300]})
        return
    _say(out, {"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        _say(out, answers[asked.pop("ask")](**asked))
    os._exit(0)  # a peer's threads must not keep the process


def _say(out: Any, said: Mapping[str, Any]) -> None:
    print(json.dumps(said), file=out, flush=True)


def load(once: Callable[[], object], callers: int, seconds: float) -> dict[str, Any]:
    """Call from so many threads, each again and again, for so many seconds.

    Returns:
        `done`: calls; `per_s`: by the time until the last of them came back; `p50_ms`, `p99_ms`: of one call;
        `cpu_us`: processor time of this process for one call.
    """
    took: list[float] = []
    begins = threading.Barrier(callers + 1)

    def call() -> None:
        mine: list[float] = []
        begins.wait()
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            once()
            mine.append(time.perf_counter() - began)
        took.extend(mine)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    begins.wait()
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    took.sort()
    return {
        "done": len(took),
        "per_s": len(took) / elapsed,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[min(len(took) - 1, len(took) * 99 // 100)] * 1e3,
        "cpu_us": cpu / len(took) * 1e6,
    }
