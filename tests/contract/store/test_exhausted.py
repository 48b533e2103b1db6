"""A process that has no connection left, and a server that is restarted: sagas wait, and go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from saga_es import open_engine
from saga_es.errors import StoreUnavailable
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.runtime.waiting.outage import retry_for
from saga_es.store.database import Database
from tests.conftest import TIMEOUT_S, Store
from tests.support.trips import Diary, Stop, trip
from tests.torture.servers import PostgresServer, folder_for_servers

INPUT = {"n": 7}


class Narrow(Database):
    """A database with a single connection, which is not waited for for long."""

    def __init__(self, url: str) -> None:
        super().__init__(url, pool_size=1)
        pool: Any = self.engine.pool
        pool._max_overflow, pool._timeout = 0, 0.05


@pytest.fixture
def narrow(store: Store, database_url: str) -> Iterator[Store]:
    """The test's store, through one connection."""
    del store  # asked for because it migrates
    database = Narrow(database_url)
    yield Store.at(database)
    database.close()


def test_a_pool_that_is_exhausted_is_waited_for(narrow: Store) -> None:
    """The loop puts off what it needs a connection for, or asks again; a caller who asks meanwhile is told why."""
    diary = Diary()
    saga = trip(diary)
    with Engine(narrow, Executor(), [saga]) as engine:
        with ExitStack() as held:
            retry_for(lambda: held.enter_context(narrow.database.reading()), TIMEOUT_S)  # the engine wants it, too
            handle = engine.start(saga, INPUT, wait=False)
            with pytest.raises(StoreUnavailable, match="QueuePool limit"), narrow.database.reading():
                pass
        assert handle.result(TIMEOUT_S).completed


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own."""
    with folder_for_servers() as folder:
        made = PostgresServer(folder / "data")
        made.make()
        made.start()
        yield made
        made.kill()


def test_a_server_that_is_killed_and_started_again_is_waited_for(server: PostgresServer) -> None:
    """While it is away a call comes back, and another saga is asked for; when it is back both go on."""
    gate = threading.Event()
    stop = Stop(gate)
    saga = trip(Diary(), {"flight": stop})
    with open_engine(f"postgresql://postgres@{server.address}/postgres", saga, lease_s=400) as engine:
        under_way = engine.start(saga, INPUT)
        assert stop.arrived.wait(TIMEOUT_S)
        server.kill()
        gate.set()
        asked = engine.start(saga, INPUT, wait=False)
        with pytest.raises(TimeoutError):
            asked.started(0.5)
        server.start()
        assert under_way.result(TIMEOUT_S).completed
        assert asked.result(TIMEOUT_S).completed
