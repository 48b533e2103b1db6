"""Tracing that is off costs nothing on the way of a call."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from saga_es import Saga, open_engine


def of_tracing(folder: Path, steps: int) -> Counter[str]:
    """How often functions of tracing are called while a saga of so many steps runs."""
    saga, called = Saga("order"), Counter[str]()
    for number in range(steps):
        saga.step(name=f"step{number}", compensation=None)(lambda: None)

    def count(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and ("saga_es/tracing" in file or file.endswith(("/tracing.py", "/trace.py"))):
            called[frame.f_code.co_name] += 1

    threading.setprofile(count)  # of the threads that begin from now on: the loop's, and those of calls
    sys.setprofile(count)
    try:
        with open_engine(f"sqlite:///{folder / 'saga.db'}", saga) as engine:
            called.clear()
            assert engine.start(saga).result(20).completed
            return called.copy()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_no_function_of_tracing_is_called_for_a_step(tmp_path: Path) -> None:
    """A start looks for a trace; after that, one step costs what ten do."""
    assert of_tracing(tmp_path, 1) == of_tracing(tmp_path, 10) == {"starting": 1, "present": 1}
