"""A program that forks while its engine runs: the child leaves by the same block, and closes nothing."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support import processes

PROGRAM = """
import os, sys
from saga_es import Saga, open_engine
from saga_es.store.database import Database
from saga_es.store.workers import Workers

saga = Saga("quick")

@saga.step(compensation=None)
def act():
    return "done"

url = sys.argv[1]
with open_engine(url, saga, grace_s=1) as engine:
    print(engine.start("quick").result(10).status)
    child = os.fork()
    if not child:
        engine.close()
        sys.exit(0)
    print("child ended:", os.waitpid(child, 0)[1])
    print("at work:", list(Workers(Database(url)).heartbeats()) == [engine.worker_id])
    print(engine.start("quick").result(10).status)
"""


def test_a_child_that_leaves_takes_nothing_from_its_parent(database_url: str, tmp_path: Path) -> None:
    """The parent is still among the workers, its connections answer, and it has nothing to complain about."""
    done = processes.run("-c", PROGRAM, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["COMPLETED", "child ended: 0", "at work: True", "COMPLETED"]
