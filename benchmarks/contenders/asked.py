"""The contender's end of the pipe: each question is a line of JSON, and so is each answer."""

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
    """Report that the contender is ready, then answer until the input ends. Other output goes to stderr.

    Args:
        make: Gets the contender ready. An exception is reported as the reason why it cannot run.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        answers = make()
    except Exception as error:  # noqa: BLE001 (the row shows any error in place of a ratio)
        _say(out, _unable(error))
        return
    _say(out, {"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        _say(out, _answered(answers[question.pop("ask")], question))
    os._exit(0)  # a peer's threads must not keep the process from ending


def _answered(answer: Callable[..., dict[str, Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return answer(**about)
    except Exception as error:  # noqa: BLE001 (after any error there is no figure)
        return _unable(error)


def _unable(error: Exception) -> dict[str, Any]:
    return {"unable": f"{type(error).__name__}: {error}"}


def _say(out: Any, said: Mapping[str, Any]) -> None:
    print(json.dumps(said), file=out, flush=True)


UNDER_WAY = 0.25
"""How long callers call before the measurement begins, as a fraction of the measured time."""


def load(once: Callable[[], object], callers: int, seconds: float) -> dict[str, Any]:
    """Call repeatedly from several threads, and count the calls that return within the measured time.

    The callers begin before the measured time and go on until it is over, so all of them are busy throughout.

    Args:
        once: The call.
        callers: The number of threads.
        seconds: The measured time.

    Returns:
        `done`: calls; `per_s`: calls a second; `p50_ms`, `p99_ms`: the time of one call; `cpu_us`: the processor time
        of this process for one call.

    Raises:
        Exception: The error of a call.
        TimeoutError: No call returned.
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
        except Exception as error:  # noqa: BLE001 (`load` raises it in the end)
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


def paced(begin: Callable[[], Callable[[], object]], a_second: float, seconds: float) -> dict[str, Any]:
    """Begin so many a second, evenly, and wait for all of them at the end.

    Args:
        begin: Begins one; what it returns waits for its end.
        a_second: How many are begun in a second.
        seconds: For how long.

    Returns:
        `done`: how many; `busy`: the share of one processor that this process took.
    """
    ends: list[Callable[[], object]] = []
    began, spent = time.perf_counter(), time.process_time()
    while (at := len(ends) / a_second) < seconds:
        time.sleep(max(0.0, began + at - time.perf_counter()))
        ends.append(begin())
    for end in ends:
        end()
    return {"done": len(ends), "busy": (time.process_time() - spent) / (time.perf_counter() - began)}
