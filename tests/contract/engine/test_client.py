"""The client: sagas are started and asked for by a process that runs none, and run by those that do."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.client import Client, open_client
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import (
    BadStart,
    CommandRefused,
    DefinitionError,
    NotFound,
    NotMigrated,
    PayloadUnencodable,
    SagaExists,
    StoreUnavailable,
)
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Receipt
from saga_es.store.tables import saga_workers
from saga_es.store.writer import Writer
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import STEPS, Diary, trip, until

INPUT = {"n": 7}


def client_of(store: Store, *sagas: Saga, writer: Writer | None = None) -> Client:
    return Client(replace(store, writer=writer or store.writer), sagas)


def approval() -> Saga:
    saga = Saga("approval")
    saga.wait_for("answer", timeout_s=None)
    return saga


def test_a_saga_started_by_a_client_waits_for_a_worker(store: Store, open_engine: OpenEngine) -> None:
    """It is PENDING, nobody's, and in the log; the first worker that knows it runs it to its end."""
    diary = Diary()
    saga = trip(diary)
    client = client_of(store, saga)
    saga_id = client.start(saga, INPUT, tags={"customer": "7"}).saga_id
    assert client.status(saga_id).status is SagaStatus.PENDING
    assert [r.event for r in store.log.read(saga_id)] == [
        e.SagaStarted("trip", saga.plan_id, INPUT, None, {"customer": "7"})
    ]
    with pytest.raises(TimeoutError, match="PENDING"):
        client.result(saga_id, 0.1)
    open_engine(saga)
    result = client.result(saga_id, TIMEOUT_S)
    assert (result.status, list(result.results)) == (SagaStatus.COMPLETED, list(STEPS))
    assert diary.names == list(STEPS)


def test_a_worker_that_is_up_hears_of_it_within_a_moment(store: Store, open_engine: OpenEngine) -> None:
    """Without a look at all sagas: the start notifies."""
    saga = trip(Diary())
    engine = open_engine(saga)
    until(lambda: engine.alive)
    client = client_of(store, saga)
    results = [client.result(client.start("trip", INPUT).saga_id, 2.0) for _ in range(3)]
    assert all(result.completed for result in results)


def test_a_start_under_a_key_is_one_saga(store: Store) -> None:
    """With the same input it has the same id, however often it is repeated; with another it is refused."""
    client = client_of(store, trip(Diary()))
    first = client.start("trip", INPUT, key="k").saga_id
    assert client.start("trip", INPUT, key="k").saga_id == first
    assert client.start("trip", INPUT, saga_id=first).saga_id == first
    with pytest.raises(SagaExists):
        client.start("trip", {"n": 8}, key="k")
    assert len(store.log.read(first)) == 1


def test_a_start_in_the_callers_transaction_is_there_when_that_commits(store: Store) -> None:
    """And never was when it is rolled back; nobody waits for it."""
    client = client_of(store, trip(Diary()))
    with store.database.engine.connect() as connection:
        lost = client.start("trip", INPUT, connection=connection).saga_id
        connection.rollback()
    with store.database.engine.begin() as connection:
        kept = client.start("trip", INPUT, connection=connection).saga_id
        assert client.start("trip", INPUT, saga_id=kept, connection=connection).saga_id == kept
    with pytest.raises(NotFound):
        client.status(lost)
    assert client.status(kept).status is SagaStatus.PENDING


def test_a_saga_may_start_later(store: Store, open_engine: OpenEngine) -> None:
    """It is claimed, and stays PENDING until its time has come."""
    saga = trip(Diary())
    client, due = client_of(store, saga), datetime.now(UTC) + timedelta(hours=1)
    saga_id = client.start(saga, INPUT, starts_at=due).saga_id
    engine = open_engine(saga)
    until(lambda: engine.active == 1)
    story = client.status(saga_id)
    assert (story.status, story.starts_at) == (SagaStatus.PENDING, due)


def test_what_cannot_be_started_is_refused(store: Store) -> None:
    """And nothing is recorded."""
    client = client_of(store, trip(Diary()))
    before = len(store.log.entries())
    with pytest.raises(DefinitionError, match="there are: trip"):
        client.start("order", INPUT)
    with pytest.raises(PayloadUnencodable):
        client.start("trip", {"n": object()})
    with pytest.raises(BadStart):
        client.start("trip", INPUT, key="")
    assert len(store.log.entries()) == before


def test_signals_and_commands_reach_the_worker_that_runs_the_saga(store: Store, open_engine: OpenEngine) -> None:
    """Within a second; what a cancel would undo can be asked before."""
    saga = approval()
    open_engine(saga)
    client = client_of(store)
    starter = client_of(store, saga)
    given, cancelled = starter.start(saga).saga_id, starter.start(saga).saga_id
    until(lambda: client.status(given).status is SagaStatus.IN_PROGRESS)
    client.signal(given, "answer", {"by": "Ann"}, key="k")
    assert client.result(given, 2.0).results == {"answer": {"by": "Ann"}}
    assert client.preview(cancelled) == []
    client.cancel(cancelled, reason="too late", actor="ann")
    assert client.result(cancelled, 2.0).status is SagaStatus.COMPENSATED
    with pytest.raises(CommandRefused):
        client.cancel(cancelled, reason="again", actor="ann")
    for ask in (client.status, client.result, client.preview):
        with pytest.raises(NotFound):
            ask("no such saga")


class Forgetful(Writer):
    """Commits, and says that nobody knows: so many times, or for ever."""

    def __init__(self, store: Store, times: int | None = None) -> None:
        super().__init__(store.database, store.log, store.views)
        self.left = times

    def write(self, batch: Any) -> list[Receipt]:
        """Commit, and lose the answer."""
        receipts = super().write(batch)
        return self._lost(batch) if self._is_lost(batch) else receipts

    def _is_lost(self, batch: list[Prepared]) -> bool:
        if batch[0].draft.category != "saga" or self.left == 0:
            return False
        self.left = None if self.left is None else self.left - 1
        return True

    def _lost(self, batch: list[Prepared]) -> list[Receipt]:
        raise StoreUnavailable(f"the answer to {len(batch)} was lost")


def test_a_start_whose_answer_was_lost_is_settled_by_writing_it_again(store: Store) -> None:
    """The second time it is found in the log; so is an order, once."""
    client = client_of(store, approval(), writer=Forgetful(store, times=1))
    saga_id = client.start("approval").saga_id
    assert len(store.log.read(saga_id)) == 1
    client = client_of(store, writer=Forgetful(store, times=1))
    client.signal(saga_id, "answer", 1)
    assert len(store.log.read(saga_id)) == 2


def test_a_database_that_stays_away_is_told_with_the_id(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the start can be repeated under it."""
    monkeypatch.setattr("saga_es.runtime.intake.starts.COMMIT_TIMEOUT_S", 0.2)
    client = client_of(store, approval(), writer=Forgetful(store))
    with pytest.raises(StoreUnavailable, match="saga_id='s-1'"):
        client.start("approval", saga_id="s-1")


def test_an_open_client_is_no_worker(store: Store, database_url: str) -> None:
    """No row, no thread, no migration: a database that is not migrated is told."""
    threads = threading.active_count()
    with open_client(database_url, approval()) as client:
        saga_id = client.start("approval").saga_id
        assert client.status(saga_id).name == "approval"
        assert threading.active_count() == threads
    with store.database.reading() as connection:
        assert connection.execute(sa.select(saga_workers)).all() == []
    assert len(store.log.read(saga_id)) == 1


def test_a_database_that_is_not_migrated_is_told(database_url: str) -> None:
    """With the cure."""
    with pytest.raises(NotMigrated, match="saga-es db upgrade"), open_client(database_url):
        pass


def test_a_client_gives_handles_like_an_engine(store: Store, open_engine: OpenEngine) -> None:
    """They wait, tell how the saga is, and take commands and signals; in asyncio, too."""
    saga = approval()
    open_engine(saga)
    client = client_of(store, saga)
    answered, cancelled = client.start(saga), client.follow(client.start(saga).saga_id)
    told: SimpleQueue[SagaStatus] = SimpleQueue()
    answered.when_ended(lambda ended: told.put(ended.result().status))
    answered.started()
    until(lambda: answered.status().status is SagaStatus.IN_PROGRESS)
    answered.signal("answer", 7)
    assert answered.result(TIMEOUT_S).results == {"answer": 7}
    assert told.get(timeout=TIMEOUT_S) is SagaStatus.COMPLETED
    cancelled.cancel(reason="too late", actor="ann")

    async def wait() -> SagaStatus:
        return (await cancelled).status

    assert asyncio.run(wait()) is SagaStatus.COMPENSATED
    with pytest.raises(NotFound):
        client.follow("no such saga").result(TIMEOUT_S)
