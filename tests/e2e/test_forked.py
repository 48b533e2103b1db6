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

def is_at_rest():
    before = time.process_time()
    time.sleep(0.2)
    return time.process_time() - before < 0.002

with open_engine(sys.argv[1], saga, grace_s=1) as engine:
    handle = engine.start("quick")
    while not is_at_rest():  # what C's fork copies while a thread waits for the interpreter can hang, whatever is in it
        pass
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


MADE_BEFORE = """
import os, sys
from threading import Event
from saga_es import App, Saga
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.database import Database
from saga_es.store.publishers import publishers
from saga_es.store.tables import saga_workers
from saga_es.store.workers import living

saga = Saga("quick")

@saga.step(compensation=None)
def act():
    return "done"

told = Event()

def tell(_event):
    told.set()

url = sys.argv[1]
node = Node(Settings.load({"database_url": url, "grace_s": "1"}, environ={}), App(sagas=[saga], on_event=tell))
early = node.engine.worker_id
for _ in range(2):
    child = os.fork()
    if not child:
        node.open()
        node.engine.start("quick").result(20)
        name = node.engine.worker_id
        assert told.wait(20)
        with Database(url).reading() as connection:
            (row,) = living(connection, 10.0, saga_workers.c.worker_id, saga_workers.c.pid)
            (publisher,) = publishers(connection)
        print(name, name != early, (row.worker_id, row.pid) == (name, os.getpid()), publisher.held.holder, flush=True)
        node.close()
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_what_was_made_before_a_fork_has_names_of_its_own_in_each_process(database_url: str, tmp_path: Path) -> None:
    """Workers of one name would take each other's sagas for their own; publishers of one name would both publish.

    A server that loads the application and then forks, such as gunicorn with --preload, makes before and opens after.
    """
    done = processes.run("-c", MADE_BEFORE, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    (one, *of_one, told_one), (other, *of_other, told_other) = map(str.split, done.stdout.splitlines())
    assert of_one == of_other == ["True", "True"]
    assert one != other
    assert told_one != told_other


WHILE_OTHERS_WRITE = """
import os, sys, threading
from saga_es.store.database import Database

database = Database(sys.argv[1])

def write(who):
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO written VALUES (?)", (who,))

def read():
    with database.snapshot() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM written").scalar_one()

with database.writing() as connection:
    connection.exec_driver_sql("CREATE TABLE written (who TEXT)")
done = threading.Event()

def write_on():
    while not done.is_set():
        write("parent")
        read()

threads = [threading.Thread(target=write_on) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(10):
    child = os.fork()
    if not child:
        write("child")
        os._exit(0 if read() else 1)
    print(os.waitpid(child, 0)[1], flush=True)
done.set()
for thread in threads:
    thread.join()
with database.reading() as connection:
    print(connection.exec_driver_sql("SELECT count(*) FROM written WHERE who = 'child'").scalar_one())
database.close()
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_child_writes_to_the_file_that_others_wrote_to_when_it_was_forked(database_url: str, tmp_path: Path) -> None:
    """SQLite holds its locks in memory: the child would wait for ever for a transaction of its parent."""
    done = processes.run("-c", WHILE_OTHERS_WRITE, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["0"] * 10 + ["10"]


OUTLIVES_ITS_PARENT = """
import os, sys
from saga_es.store.database import Database

database = Database(sys.argv[1])

def write(database, number):
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO written VALUES (?)", (number,))

with database.writing() as connection:
    connection.exec_driver_sql("CREATE TABLE written (number INTEGER)")
(child_reads, parent_writes), (parent_reads, child_writes) = os.pipe(), os.pipe()
if not os.fork():
    write(database, 1)
    os.write(child_writes, b".")
    os.read(child_reads, 1)
    write(database, 2)
    os.write(child_writes, b".")
    os._exit(0)
os.read(parent_reads, 1)
database.close()  # of all that SQLite sees, the last
other = Database(sys.argv[1])
write(other, 3)
os.write(parent_writes, b".")
os.read(parent_reads, 1)
write(other, 4)
with other.reading() as connection:
    print(*connection.exec_driver_sql("SELECT number FROM written ORDER BY number").scalars())
other.close()
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_lost_that_a_child_writes_when_its_parent_has_closed_the_file(
    database_url: str, tmp_path: Path
) -> None:
    """A child with its parent's locks has none of its own: the parent would remove the log that the child writes to."""
    done = processes.run("-c", OUTLIVES_ITS_PARENT, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["1", "2", "3", "4"]


IN_A_TRANSACTION = """
import os, sys
from saga_es.store.database import Database

database = Database(sys.argv[1])
with database.writing() as connection:
    connection.exec_driver_sql("CREATE TABLE written (number INTEGER)")
    child = os.fork()
    if not child:
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
    connection.exec_driver_sql("INSERT INTO written VALUES (1)")
with database.reading() as connection:
    print(connection.exec_driver_sql("SELECT number FROM written").scalar_one())
database.close()
"""


def test_a_thread_that_forks_in_its_own_transaction_does_not_wait_for_itself(database_url: str, tmp_path: Path) -> None:
    """Its transaction is the parent's, and goes on there."""
    done = processes.run("-c", IN_A_TRANSACTION, database_url, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["0", "1"]
