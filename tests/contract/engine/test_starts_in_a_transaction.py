"""A saga that is started in a transaction of the caller's: it exists exactly when that commits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.errors import CommandRefused, NotFound, SagaExists, StepRejected
from saga_es.store.database import Database
from saga_es.store.tables import saga_bells, saga_events
from tests.conftest import NOTE, TIMEOUT_S, NoteWritten, OpenEngine, Store
from tests.support.trips import STEPS, Diary, raising, trip, until

INPUT = {"n": 7}


class Shop:
    """A service with a database of its own tables, which our log shares; its connections are plain ones."""

    orders = sa.Table("shop_orders", sa.MetaData(), sa.Column("name", sa.String(40), primary_key=True))

    def __init__(self, database: Database) -> None:
        self.engine = sa.create_engine(database.url)
        self.orders.create(self.engine)

    def note(self, connection: Connection, name: str) -> None:
        """Note an order, in a transaction."""
        connection.execute(sa.insert(self.orders).values(name=name))

    def noted(self) -> list[str]:
        """The orders whose transactions are committed."""
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(self.orders.c.name).order_by(self.orders.c.name)))


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    """A shop on the test's database."""
    made = Shop(database)
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("first", ["order", "saga"])
def test_a_saga_exists_exactly_when_the_callers_transaction_commits(
    open_engine: OpenEngine, shop: Shop, first: str
) -> None:
    """Before the commit nobody sees it; after it, it runs within a moment, and the handle has its result."""
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    with shop.engine.begin() as connection:
        if first == "order":
            shop.note(connection, "a")
        handle = engine.start(saga, INPUT, connection=connection)
        if first == "saga":
            shop.note(connection, "a")
        assert engine.read(handle.saga_id) == []
        with pytest.raises(TimeoutError):
            handle.started(0.3)
    committed = time.monotonic()
    assert handle.result(TIMEOUT_S).completed
    assert time.monotonic() - committed < 2
    assert diary.names == list(STEPS)
    assert shop.noted() == ["a"]


@pytest.mark.parametrize("first", ["order", "saga", "saga alone"])
def test_a_saga_does_not_exist_when_the_callers_transaction_is_rolled_back(
    store: Store, open_engine: OpenEngine, shop: Shop, first: str
) -> None:
    """Not a row of it is left, the handle says so at once, and its key is free for the next transaction."""
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    with shop.engine.connect() as connection:
        if first == "order":
            shop.note(connection, "a")
        handle = engine.start(saga, INPUT, key="k", connection=connection)
        if first == "saga":
            shop.note(connection, "a")
        connection.rollback()
    with pytest.raises(NotFound):
        handle.result(TIMEOUT_S)
    assert (store.log.entries(handle.saga_id), shop.noted(), diary.calls) == ([], [], [])
    with shop.engine.begin() as connection:
        again = engine.start(saga, INPUT, key="k", connection=connection)
    assert again.saga_id == handle.saga_id
    assert again.result(TIMEOUT_S).completed


def test_nothing_is_looked_for_once_a_transaction_is_rolled_back(open_engine: OpenEngine, shop: Shop) -> None:
    """An engine does not go on asking for sagas that will never be."""
    saga = trip(Diary())
    engine = open_engine(saga)
    handles = []
    for _ in range(3):
        with shop.engine.connect() as connection:
            handles.append(engine.start(saga, INPUT, connection=connection))  # closed without a commit
    for handle in handles:
        with pytest.raises(NotFound):
            handle.result(TIMEOUT_S)
    assert len(engine._worker._remote) == 0


def test_the_same_key_twice_in_one_transaction_is_one_saga(open_engine: OpenEngine, shop: Shop) -> None:
    """Both handles have its result; another input is refused, and the transaction can go on."""
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    with shop.engine.begin() as connection:
        handles = [engine.start(saga, INPUT, key="k", connection=connection) for _ in range(2)]
        with pytest.raises(SagaExists):
            engine.start(saga, {"n": 8}, key="k", connection=connection)
        shop.note(connection, "a")
        time.sleep(0.5)  # the engine looks meanwhile, and finds nothing yet
    results = [handle.result(TIMEOUT_S) for handle in handles]
    assert results[0] == results[1]
    assert results[0].completed
    assert diary.names == list(STEPS)
    assert shop.noted() == ["a"]


@pytest.mark.parametrize("other", [INPUT, {"n": 8}], ids=["same input", "another input"])
def test_the_same_key_in_two_transactions_at_once_is_one_saga(
    open_engine: OpenEngine, shop: Shop, other: dict[str, int]
) -> None:
    """The second waits for the first, and gets its saga; with another input it is refused, and can go on."""
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    is_written = threading.Event()

    def first() -> str:
        with shop.engine.begin() as connection:
            shop.note(connection, "first")
            handle = engine.start(saga, INPUT, key="k", connection=connection)
            is_written.set()
            time.sleep(0.3)  # the second meets it uncommitted
        return handle.result(TIMEOUT_S).saga_id

    def second() -> str:
        assert is_written.wait(TIMEOUT_S)
        with shop.engine.begin() as connection:
            try:
                handle = engine.start(saga, other, key="k", connection=connection)
            except SagaExists:
                return "refused"
            finally:
                shop.note(connection, "second")
        return handle.result(TIMEOUT_S).saga_id

    with ThreadPoolExecutor(2) as threads:
        ids = [future.result(TIMEOUT_S) for future in [threads.submit(first), threads.submit(second)]]
    assert ids[1] == (ids[0] if other == INPUT else "refused")
    assert diary.names == list(STEPS)
    assert shop.noted() == ["first", "second"]


def test_an_id_that_is_no_sagas_is_refused(open_engine: OpenEngine, shop: Shop) -> None:
    """A record of the application stands under it."""
    saga = trip(Diary())
    engine = open_engine(saga)
    engine.append("n-1", NOTE, 0, [NoteWritten("a note")])
    with shop.engine.begin() as connection, pytest.raises(SagaExists):
        engine.start(saga, INPUT, saga_id="n-1", connection=connection)


def test_a_saga_in_a_transaction_can_start_later_and_carry_tags(
    store: Store, open_engine: OpenEngine, shop: Shop
) -> None:
    """The same options hold there; its time is heeded by whoever takes it."""
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    at = datetime.now(UTC) + timedelta(seconds=0.6)
    with shop.engine.begin() as connection:
        handle = engine.start(saga, INPUT, connection=connection, starts_at=at, tags={"a": "b"})
    assert handle.result(TIMEOUT_S).completed
    (began,) = [recorded for recorded in engine.read(handle.saga_id) if recorded.event == e.SagaBegan()]
    assert at <= began.recorded_at
    state = store.sagas.find(handle.saga_id)
    assert state is not None
    assert state.tags == {"a": "b"}


def test_a_saga_of_a_transaction_is_begun_by_whichever_engine_knows_it(open_engine: OpenEngine, shop: Shop) -> None:
    """The one that started it leaves orphans to others: one of those takes it, and it runs once."""
    diary = Diary()
    saga = trip(diary)
    starter = open_engine(saga, recovers=False)
    for _ in range(2):
        open_engine(saga)
    with shop.engine.begin() as connection:
        handle = starter.start(saga, INPUT, connection=connection)
    assert handle.result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)


def test_transactions_and_a_busy_engine_get_along(store: Store, open_engine: OpenEngine, shop: Shop) -> None:
    """While an engine runs sagas without a pause, forty transactions start one each: all end, none is doubled."""
    diary = Diary()
    saga = trip(diary, {"bill": raising(StepRejected("no money"))})
    engine = open_engine(saga)
    done = threading.Event()

    def keep_busy() -> int:
        count = 0
        while not done.is_set():
            assert engine.start(saga, INPUT).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
            count += 1
        return count

    def in_a_transaction(n: int) -> str:
        with shop.engine.begin() as connection:
            shop.note(connection, f"{n:02}")
            handle = engine.start(saga, {"n": n}, key=str(n), connection=connection)
        assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
        return handle.saga_id

    with ThreadPoolExecutor(8) as threads:
        busy = [threads.submit(keep_busy) for _ in range(4)]
        ids = list(threads.map(in_a_transaction, range(40)))
        done.set()
        assert min(future.result(TIMEOUT_S) for future in busy) > 0
    assert shop.noted() == [f"{n:02}" for n in range(40)]
    for entries in store.log.entries_of(ids).values():
        assert [entry.version for entry in entries] == list(range(1, len(entries) + 1))


def test_a_slow_transaction_of_the_callers_holds_sagas_up_and_fails_none(
    store: Store, open_engine: OpenEngine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite nobody else can write meanwhile: the engine is told "locked", and waits for its turn."""
    monkeypatch.setattr("saga_es.store.drivers.timeouts.LOCK_S", 1)
    store.database.engine.dispose()  # what is opened from now on is as impatient
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    with shop.engine.begin() as connection:
        shop.note(connection, "slow")
        started = engine.start(saga, INPUT, connection=connection)
        others = [engine.start(saga, {"n": n}, wait=False) for n in range(5)]
        time.sleep(1.5)
    for handle in (started, *others):
        assert handle.result(TIMEOUT_S).completed
    assert len(diary.calls) == 6 * len(STEPS)


def test_an_engine_that_stops_leaves_a_saga_of_an_open_transaction_to_the_next(
    open_engine: OpenEngine, shop: Shop
) -> None:
    """It commits when its engine is gone; the next one finds it."""
    saga = trip(Diary())
    first = open_engine(saga)
    with shop.engine.connect() as connection:
        handle = first.start(saga, INPUT, connection=connection)
        closing = threading.Thread(target=first.close)  # SQLite: its goodbye waits for our commit
        closing.start()
        while first.alive:
            closing.join(0.01)
        connection.commit()
        closing.join(TIMEOUT_S)
    second = open_engine(saga)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).completed
    with pytest.raises(CommandRefused):
        second.submit(handle.saga_id, Cancel("Ann", "too late"))


def test_the_notifications_of_started_sagas_are_taken_away(store: Store, open_engine: OpenEngine, shop: Shop) -> None:
    """A start in a transaction notifies, and in the end the table of notifications is empty."""
    saga = trip(Diary())
    engine = open_engine(saga)
    with shop.engine.begin() as connection:
        handles = [engine.start(saga, INPUT, connection=connection) for _ in range(5)]
    for handle in handles:
        assert handle.result(TIMEOUT_S).completed
    until(lambda: _notifications(store) == 0)
    with store.database.reading() as reading:
        assert reading.scalar(sa.select(sa.func.count()).select_from(saga_events)) == 1 + 5 * 12


def _notifications(store: Store) -> int:
    with store.database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(saga_bells)) or 0
