"""A program that forks while its engine runs: the child closes nothing, is refused at once, or has its own engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_es.store.database import Database
from saga_es.store.workers import Workers
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


REFUSED = """
import ctypes, os, sys, time
from saga_es import Saga, open_engine
from saga_es.errors import EngineForked

saga = Saga("quick")

@saga.step(compensation=None)
def act():
    return "done"

saga.wait_for("approval", timeout_s=None)

with open_engine(sys.argv[1], saga, grace_s=1) as engine:
    handle = engine.start("quick")
    child = os.fork() if sys.argv[2] == "told" else ctypes.PyDLL(None).fork()
    if not child:
        begun = time.monotonic()
        for use in (
            lambda: engine.start("quick"),
            lambda: engine.follow(handle.saga_id),
            lambda: engine.signal(handle.saga_id, "approval"),
            lambda: handle.result(),
        ):
            try:
                use()
            except EngineForked as error:
                print("open an engine after the fork" in str(error), flush=True)
        print("reads:", engine.status(handle.saga_id).name, time.monotonic() - begun < 5, flush=True)
        sys.exit(0)
    print("child ended:", os.waitpid(child, 0)[1])
    handle.signal("approval")
    print(handle.result(10).status)
"""


@pytest.mark.parametrize("fork", ["told", "untold"])
def test_a_child_is_told_at_once_that_the_engine_is_not_here(database_url: str, tmp_path: Path, fork: str) -> None:
    """It used to wait for 10 s for a database that was there. It may read, on connections of its own.

    A fork in C, as uWSGI's, runs no hooks of Python's.
    """
    done = processes.run("-c", REFUSED, database_url, fork, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    refused = ["True"] * 4
    assert done.stdout.splitlines() == [*refused, "reads: quick True", "child ended: 0", "COMPLETED"]


OF_ITS_OWN = """
import os, sys
from flask import Flask
from saga_es import Saga
from saga_es.flask import SagaES
from saga_es.store.database import Database
from saga_es.store.workers import Workers

saga = Saga("quick")

@saga.step(compensation=None)
def act():
    return os.getpid()

sagas = SagaES(Flask("shop"), sagas=[saga], database_url=sys.argv[1], grace_s=1)
print(sagas.engine.start("quick").result(10).results["act"] == os.getpid(), flush=True)
child = os.fork()
if not child:
    print(sagas.engine.start("quick").result(10).results["act"] == os.getpid(), flush=True)
    print("at work:", len(list(Workers(Database(sys.argv[1])).heartbeats())), flush=True)
    sys.exit(0)
print("child ended:", os.waitpid(child, 0)[1])
print("at work:", list(Workers(Database(sys.argv[1])).heartbeats()) == [sagas.engine.worker_id])
"""


def test_a_flask_application_has_an_engine_in_each_process_that_uses_it(database_url: str, tmp_path: Path) -> None:
    """As a server forks that has loaded the application before. Each says goodbye when its process ends."""
    done = processes.run("-c", OF_ITS_OWN, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["True", "True", "at work: 2", "child ended: 0", "at work: True"]
    database = Database(database_url)
    assert list(Workers(database).heartbeats()) == []
    database.close()
