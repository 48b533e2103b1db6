"""The engine: `python -m benchmarks.contenders.ours URL [--uncounted] [--with-lines] [--publish=BROKER]`.

With `--uncounted` it has no metrics; with `--with-lines` it writes the lines of `saga-es serve`, to a file; with
`--publish` it publishes its log to the broker at that URL.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import Any

from benchmarks.contenders.asked import Answers, answer_all, load, paced
from benchmarks.contenders.work import INPUT, REFUSED, trip
from saga_es import open_engine
from saga_es.core.state import SagaStatus
from saga_es.node.logs import configure_logs

_OPEN = ExitStack()
"""Keeps the engine open. It is never closed: the process ends when the questions end."""


def _ready() -> Answers:
    if "--with-lines" in sys.argv:
        sys.stderr = _OPEN.enter_context(TemporaryFile("w"))  # noqa: SIM115 (the stack closes it)
        configure_logs("info")
    else:
        logging.getLogger("saga_es").setLevel(logging.ERROR)  # each saga that fails here would have its lines
    is_counted = "--uncounted" not in sys.argv
    publish = next((given.partition("=")[2] for given in sys.argv if given.startswith("--publish=")), "")
    engine = _OPEN.enter_context(open_engine(sys.argv[1], trip, metrics=is_counted, publish=publish))

    def run(callers: int, seconds: float, work: str = "happy") -> dict[str, Any]:
        given, end = (REFUSED, SagaStatus.COMPENSATED) if work == "refused" else (INPUT, SagaStatus.COMPLETED)

        def once() -> None:
            result = engine.start(trip, given).result()
            assert result.status is end, result

        return load(once, callers, seconds)

    def pace(a_second: float, seconds: float) -> dict[str, Any]:
        return paced(lambda: engine.start(trip, INPUT, wait=False).result, a_second, seconds)

    return {"load": run, "pace": pace}


if __name__ == "__main__":
    answer_all(_ready)
