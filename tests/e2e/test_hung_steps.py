"""A `def` step that hangs, in a real process that is asked to stop: it keeps nobody from ending."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from saga_es import Saga, open_engine
from tests.e2e.conftest import TIMEOUT_S

PROGRAM = """
import signal, sys, threading
from saga_es import Saga, open_engine

saga = Saga("slow")

@saga.step(compensation=None)
def quick():
    return "done"

@saga.step(compensation=None)
def hang():
    print("it hangs", flush=True)
    threading.Event().wait()

@saga.step(compensation=None)
def never():
    print("this must not be called", flush=True)

def stop(*_):
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
with open_engine(sys.argv[1], saga, grace_s=0.5) as engine:
    engine.start(saga, saga_id="s-1")
    threading.Event().wait()
"""


def test_a_def_step_that_hangs_does_not_keep_a_process_from_stopping(sqlite_url: str, tmp_path: Path) -> None:
    """SIGTERM: the grace time passes, nothing new is called, the exit code is 0; the next worker has the saga."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(program), sqlite_url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "it hangs\n"
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, said) == (0, "")

    called: list[str] = []
    with open_engine(sqlite_url, _the_same(called)) as engine:
        assert engine.follow("s-1").result(TIMEOUT_S).completed
    assert called == ["hang", "never"], "what was done is not done again"


def _the_same(called: list[str]) -> Saga:
    saga = Saga("slow")

    @saga.step(compensation=None)
    def quick() -> None:
        called.append("quick")

    @saga.step(compensation=None)
    def hang() -> None:
        called.append("hang")

    @saga.step(compensation=None)
    def never() -> None:
        called.append("never")

    return saga
