"""A database that comes and goes at every single point, for reading and for writing: nothing is lost or stuck."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from sqlalchemy.engine import Connection

from saga_es.commands import Pause, Resume
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused, StepRejected, StoreUnavailable
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.runtime.waiting import outage
from saga_es.store.database import Database
from saga_es.store.drivers.writes import Write
from saga_es.store.workers import Workers
from tests.conftest import TIMEOUT_S, Store
from tests.support.trips import QUICK, Diary, until

T = TypeVar("T")

LONG_S = 6 * TIMEOUT_S
"""The engine waits longer each time the database is away, and dice may have it away often."""

LONGEST_WAIT_S = 0.1
"""Here it waits no longer than this: most of the test's time would be such waits, in which nothing is seen."""


class Flaky(Database):
    """A database which, while it is flaky, does not answer much of what it is asked; some of that it did."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(url)
        self.is_flaky = False
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection, if it is there."""
        self._perhaps_away(0.2)
        with super().reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction, if it is there; and its commit is not always answered."""
        self._perhaps_away(0.1)
        with super().writing() as connection:
            yield connection
        self._perhaps_away(0.1)

    def transact(self, writes: Sequence[Write]) -> None:
        """The same for what a batch writes."""
        self._perhaps_away(0.1)
        super().transact(writes)
        self._perhaps_away(0.1)

    def _perhaps_away(self, chance: float) -> None:
        with self._lock:
            is_away = self.is_flaky and self._random.random() < chance
        if is_away:
            raise StoreUnavailable("the database is away")


def insisting(ask: Callable[[], T]) -> T:
    """Ask until there is an answer, as one does who was told that the database is away."""
    while True:
        try:
            return ask()
        except StoreUnavailable:
            continue


def parent_and_child(diary: Diary) -> tuple[Saga, Saga]:
    child, saga = Saga("child"), Saga("parent", deadline_s=3600)

    @child.step(retry=QUICK)
    def charge(key: str) -> None:
        diary.note("charge", key)

    @child.compensates(charge)
    def refund(key: str) -> None:
        diary.note("refund", key)

    child.wait_for("cleared", timeout_s=None)
    with saga.together():

        @saga.step(over="input[list]", at_once=2)
        async def each(item: int, key: str) -> int:
            diary.note("each", key)
            return item

        @saga.compensates(each)
        def uneach(key: str) -> None:
            diary.note("uneach", key)

        saga.child("pay", child)

    saga.delay("nap", 0.02)

    @saga.step(compensation=None)
    def last(input: dict[str, Any]) -> None:  # noqa: A002 (the name a step asks for)
        if input["turns"]:
            raise StepRejected("no")

    return saga, child


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_ends_though_the_database_comes_and_goes(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Parents and children, lists, delays, signals and orders, on two engines: each call is made once, and all end."""
    monkeypatch.setattr(outage, "LONGEST_WAIT_S", LONGEST_WAIT_S)
    diary, sagas = Diary(), 4
    flaky = [Flaky(database_url, seed), Flaky(database_url, seed + 100)]
    saga, child = parent_and_child(diary)
    engines = [_engine(Store.at(database), saga, child).open() for database in flaky]
    try:
        for database in flaky:
            database.is_flaky = True
        with ThreadPoolExecutor(sagas) as threads:
            ended = list(threads.map(lambda n: _one(store, engines, n), range(sagas)))
    finally:
        for database in flaky:
            database.is_flaky = False
        for engine in engines:
            engine.close()
        for database in flaky:
            database.close()
    assert ended == [SagaStatus.COMPENSATED if n % 2 else SagaStatus.COMPLETED for n in range(sagas)]
    assert sorted(set(diary.names)) == ["charge", "each", "refund", "uneach"]
    assert len({key for _, key in diary.calls}) == len(diary.calls) == sagas * 4 + sagas // 2 * 4


def _engine(store: Store, *definitions: Saga) -> Engine:
    patient = replace(store, workers=Workers(store.database, 400))  # however long it takes, nobody counts as gone
    return Engine(patient, Executor(), definitions)


def _one(store: Store, engines: list[Engine], n: int) -> SagaStatus:
    """Start one parent, meddle with it, clear its child, and wait for its end: each on an engine of its own."""
    owner, other = engines[n % 2], engines[(n + 1) % 2]
    saga_id = f"p-{n}"
    given = {"turns": bool(n % 2), "list": [1, 2, 3]}
    insisting(lambda: owner.start("parent", given, saga_id=saga_id))
    for order in (Pause("Ann", "why"), Resume("Ann", "why")):
        for giver in (other, owner):
            try:
                insisting(lambda giver=giver, order=order: giver.submit(saga_id, order))  # type: ignore[misc]  # bound here
            except CommandRefused:
                continue
    child_id = until(lambda: _child_in(store, saga_id), LONG_S)
    assert child_id is not None
    insisting(lambda: other.signal(child_id, "cleared", key="once"))
    return insisting(lambda: other.follow(saga_id).result(LONG_S)).status


def _child_in(store: Store, saga_id: str) -> str | None:
    found = [recorded.event for recorded in store.log.read(saga_id) if isinstance(recorded.event, e.ChildStarted)]
    return found[0].saga_id if found and store.log.read(found[0].saga_id) else None
