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
        _say(out, _unable(error))
        return
    _say(out, {"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        _say(out, _answered(answers[asked.pop("ask")], asked))
    os._exit(0)  # a peer's threads must not keep the process


def _answered(answer: Callable[..., dict[str, Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return answer(**about)
    except Exception as error:  # noqa: BLE001 (whatever failed: half of a measurement is none)
        return _unable(error)


def _unable(error: Exception) -> dict[str, Any]:
    return {"unable": f"{type(error).__name__}: {error}"}


def _say(out: Any, said: Mapping[str, Any]) -> None:
    print(json.dumps(said), file=out, flush=True)


UNDER_WAY = 0.25
"""How long callers call before anything counts, as a part of the time that counts."""


def load(once: Callable[[], object], callers: int, seconds: float) -> dict[str, Any]:
    """Call from so many threads, each again and again, and count what comes back within so many seconds.

    They have called for a while when the time begins, and go on until it is over: no caller is without the others.

    Returns:
        `done`: calls; `per_s`; `p50_ms`, `p99_ms`: of one call; `cpu_us`: processor time of this process for one call.

    Raises:
        Exception: What a call raised.
        TimeoutError: None came back.
    """
    ends: list[tuple[float, float]] = []
    failures: list[Exception] = []
    is_over = threading.Event()

    def call() -> None:
        try:
            while not is_over.is_set():
                began = time.perf_counter()
                once()
                ended = time.perf_counter()
                ends.append((ended, ended - began))
        except Exception as error:  # noqa: BLE001 (whatever it is: the caller of all raises it)
            failures.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(UNDER_WAY * seconds)
        began, cpu = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        ended, cpu = time.perf_counter(), time.process_time() - cpu
    finally:
        is_over.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    took = sorted(took for at, took in ends if began <= at <= ended)
    if not took:
        raise TimeoutError(f"none of {callers} callers got an answer within {seconds:g} s")
    return {
        "done": len(took),
        "per_s": len(took) / (ended - began),
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[min(len(took) - 1, len(took) * 99 // 100)] * 1e3,
        "cpu_us": cpu / len(took) * 1e6,
    }
