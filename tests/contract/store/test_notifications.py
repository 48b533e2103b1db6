"""A saga's owner learns within a moment what others appended to it, and no notification stays for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as with_other
from itertools import cycle
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.commands import SendSignal
from saga_es.definition.saga import Saga
from saga_es.errors import StoreUnavailable
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.waiting.clock import SystemClock
from saga_es.store.drivers.compiled import execute_many
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.notifications import Notifications, notify
from saga_es.store.ports import READ_AT_ONCE, Conflict, Notification, Written
from saga_es.store.tables import saga_bells
from tests.conftest import AT, TIMEOUT_S, OpenEngine, Store, note_draft
from tests.support.any_store import AnyStore
from tests.support.trips import crash, events_of, has_happened, until, worker_of


def waiting(name: str = "waiting", signals: int = 1) -> Saga:
    saga = Saga(name)
    for n in range(signals):
        saga.wait_for(f"go_{n}", timeout_s=None)
    return saga


def pending(store: Store) -> int:
    """How many notifications nobody has answered."""
    with store.database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(saga_bells)) or 0


def giver(store: Store) -> Callable[[str, Any], None]:
    """Whoever gives orders without an engine, and so is nobody's owner."""
    return Commands(store, SystemClock()).record


# ── The port ─────────────────────────────────────────────────────────────────────────────────────────────


def appended(store: AnyStore, stream_id: str, *events: e.SagaEvent, after: int = 0) -> None:
    assert store.write(Draft(stream_id, SAGA, after, events, AT, notifies=True)) == [Written()]


def test_only_a_notification_of_an_unfinished_saga_without_a_worker_calls_for_one(any_store: AnyStore) -> None:
    """And only those who know its definition."""
    notifications = any_store.notifications
    assert notifications.is_empty()
    appended(any_store, "ours", e.SagaStarted("waiting", "plan-1", {}, "w-1"))
    appended(any_store, "ended", e.SagaStarted("waiting", "plan-1", {}, None), e.SagaFailed("nobody came"))
    assert any_store.write(replace(note_draft("n-1", "a"), notifies=True)) == [Written()]
    assert not notifications.is_empty()
    assert not notifications.unclaimed(["waiting"])
    appended(any_store, "free", e.SagaStarted("waiting", "plan-1", {}, None))
    assert notifications.unclaimed(["waiting"])
    assert not notifications.unclaimed(["another"])
    assert not notifications.unclaimed([])


def test_a_worker_is_told_of_its_own_sagas_and_of_those_that_are_over(any_store: AnyStore) -> None:
    """By saga and version; of a saga that waits for a worker, or is another's, it is not told."""
    appended(any_store, "b-ours", e.SagaStarted("waiting", "plan-1", {}, "w-1"))
    appended(any_store, "a-ours", e.SagaStarted("waiting", "plan-1", {}, "w-1"), e.SagaPaused("ann", "wait"))
    appended(any_store, "b-ours", e.SagaPaused("ann", "wait"), after=1)
    appended(any_store, "ended", e.SagaStarted("waiting", "plan-1", {}, "w-2"), e.SagaFailed("nobody came"))
    appended(any_store, "free", e.SagaStarted("waiting", "plan-1", {}, None))
    appended(any_store, "theirs", e.SagaStarted("waiting", "plan-1", {}, "w-2"))
    assert any_store.write(replace(note_draft("no saga", "a"), notifies=True)) == [Written()]
    assert any_store.notifications.pending("w-1") == [
        Notification("a-ours", 2, "w-1", is_over=False),
        Notification("b-ours", 1, "w-1", is_over=False),
        Notification("b-ours", 2, "w-1", is_over=False),
        Notification("ended", 2, "w-2", is_over=True),
        Notification("no saga", 1, None, is_over=True),
    ]


def test_what_its_owner_appends_notifies_nobody(any_store: AnyStore) -> None:
    """Nor does a draft that was in conflict, or one that was written before."""
    ours = Draft("ours", SAGA, 0, (e.SagaStarted("waiting", "plan-1", {}, "w-1"),), AT)
    assert any_store.write(ours) == [Written()]
    late = Draft("ours", SAGA, 0, (e.SagaStarted("waiting", "plan-2", {}, "w-1"),), AT, notifies=True)
    assert any_store.write(late) == [Conflict()]
    assert any_store.notifications.is_empty()
    paused = Draft("ours", SAGA, 1, (e.SagaPaused("ann", "wait"),), AT, notifies=True)
    assert [any_store.write(paused) for _ in range(2)] == [[Written()], [Written()]]
    assert len(any_store.notifications.pending("w-1")) == 1


def test_a_notification_is_pending_until_it_is_acknowledged(any_store: AnyStore) -> None:
    """To acknowledge one leaves those of later versions, and to do it twice is no fault."""
    appended(any_store, "ours", e.SagaStarted("waiting", "plan-1", {}, "w-1"))
    appended(any_store, "ours", e.SagaPaused("ann", "wait"), after=1)
    first, second = any_store.notifications.pending("w-1")
    for _ in range(2):
        any_store.notifications.acknowledge([first])
        assert any_store.notifications.pending("w-1") == [second]
    any_store.notifications.acknowledge([])
    any_store.notifications.acknowledge([second])
    assert any_store.notifications.is_empty()


def test_so_many_are_read_at_once(any_store: AnyStore) -> None:
    """The others are pending once these are acknowledged."""
    names = [f"s-{n:04}" for n in range(READ_AT_ONCE + 1)]
    started = e.SagaStarted("waiting", "plan-1", {}, "w-1")
    receipts = any_store.write(*(Draft(name, SAGA, 0, (started,), AT, notifies=True) for name in names))
    assert receipts == [Written()] * len(names)
    pending = any_store.notifications.pending("w-1")
    assert [notification.saga_id for notification in pending] == names[:-1]
    any_store.notifications.acknowledge(pending)
    assert [notification.saga_id for notification in any_store.notifications.pending("w-1")] == names[-1:]


# ── Engines ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_of_another_writer_is_followed_at_any_moment(store: Store, open_engine: OpenEngine) -> None:
    """Sixteen sagas wait for twenty signals each, given while they go from wait to wait: every one is followed."""
    saga = waiting(signals=20)
    engines = [open_engine(saga) for _ in range(2)]
    handles = [engines[n % 2].start(saga) for n in range(16)]
    give = giver(store)

    def signal_all(saga_id: str) -> None:
        for n in range(20):
            give(saga_id, SendSignal(f"go_{n}", n))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(signal_all, [handle.saga_id for handle in handles]))
    for handle in handles:
        assert handle.result(TIMEOUT_S).results == {f"go_{n}": n for n in range(20)}
    until(lambda: pending(store) == 0)


def test_every_notification_is_taken_away_in_the_end(store: Store, open_engine: OpenEngine) -> None:
    """Of sagas that go on, that have ended, and that never were."""
    saga = waiting(signals=2)
    engine = open_engine(saga)
    give = giver(store)
    goes_on, ends = engine.start(saga), engine.start(saga)
    give(goes_on.saga_id, SendSignal("go_0"))
    give(ends.saga_id, Cancel("Ann", "because"))
    with store.database.writing() as connection:
        for statement, rows in notify([("no-such-saga", 7)]):
            execute_many(connection, statement, rows)
    ends.result(TIMEOUT_S)
    until(lambda: pending(store) == 0)
    give(goes_on.saga_id, SendSignal("go_1"))
    assert goes_on.result(TIMEOUT_S).completed
    until(lambda: pending(store) == 0)


def test_a_notification_waits_for_the_next_owner(store: Store, open_engine: OpenEngine) -> None:
    """It was written when the owner was gone: nobody takes it away before the saga has found a home."""
    saga = waiting()
    first = open_engine(saga)
    handle = first.start(saga)
    until(lambda: has_happened(first, handle.saga_id, e.WaitStarted))
    crash(store, first)
    stranger = open_engine()
    giver(store)(handle.saga_id, SendSignal("go_0", "heard"))
    assert pending(store) == 1
    second = open_engine(saga)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).results == {"go_0": "heard"}
    assert e.SagaTakenOver(worker_of(second), worker_of(first)) in events_of(stranger, handle.saga_id)
    until(lambda: pending(store) == 0)


def test_notifications_that_wait_for_others_hide_none_of_ours(store: Store, open_engine: OpenEngine) -> None:
    """More sagas than are heard of at once wait for a worker that knows them, and is not there."""
    starter = open_engine(waiting("others"), recovers=False)
    with store.database.writing() as connection:
        for n in range(READ_AT_ONCE + 10):
            starter.start("others", saga_id=f"0-{n:04}", connection=connection)
    starter.close()
    saga = waiting()
    engine = open_engine(saga)
    handle = engine.start(saga)
    until(lambda: has_happened(engine, handle.saga_id, e.WaitStarted))
    giver(store)(handle.saga_id, SendSignal("go_0"))
    assert handle.result(TIMEOUT_S).completed
    until(lambda: pending(store) == READ_AT_ONCE + 10)


class Deaf(Notifications):
    """Notifications of a database that is away now and then, before and after it did as asked."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database)
        self._is_away = cycle((True, False, False, True, True, False, False, False))

    def pending(self, worker_id: str) -> list[Notification]:
        """If it is there."""
        self._stumble()
        return super().pending(worker_id)

    def unclaimed(self, names: Collection[str], plans_apart: Collection[str] = ()) -> list[str]:
        """If it is there."""
        self._stumble()
        return super().unclaimed(names, plans_apart)

    def acknowledge(self, notifications: Sequence[Notification]) -> None:
        """If it is there; and sometimes the answer is lost."""
        if notifications:
            self._stumble()
        super().acknowledge(notifications)
        if notifications:
            self._stumble()

    def _stumble(self) -> None:
        if next(self._is_away):
            raise StoreUnavailable("the database is away")


def test_a_command_is_followed_though_the_database_comes_and_goes(store: Store) -> None:
    """A look that failed is taken again, and a notification that was answered twice does no harm."""
    saga = waiting(signals=3)
    with Engine(with_other(store, notifications=Deaf(store)), Executor(), [saga]) as engine:
        handle = engine.start(saga)
        for n in range(3):
            giver(store)(handle.saga_id, SendSignal(f"go_{n}", n))
        assert handle.result(TIMEOUT_S).results == {"go_0": 0, "go_1": 1, "go_2": 2}
        until(lambda: pending(store) == 0)


def test_who_only_follows_is_told_of_the_end_however_many_come_after(open_engine: OpenEngine) -> None:
    """A look at the sagas of others is not put off by those who ask for one more, again and again."""
    saga = waiting()
    owner, other = open_engine(saga), open_engine()
    handle, restless = owner.start(saga), owner.start(saga)
    followed = other.follow(handle.saga_id)
    is_over = threading.Event()

    def keep_asking() -> None:
        while not is_over.wait(0.02):
            other.follow(restless.saga_id)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        owner.signal(handle.saga_id, "go_0")
        assert followed.result(5).completed
    finally:
        is_over.set()
        asking.join(TIMEOUT_S)


def test_thousands_are_followed_from_afar(store: Store, open_engine: OpenEngine) -> None:
    """More than are looked at in one go: all are told."""
    saga = waiting()
    owner, other = open_engine(saga), open_engine()
    handles = [owner.start(saga, wait=False) for _ in range(1200)]
    for handle in handles:
        handle.started(TIMEOUT_S)
    followed = [other.follow(handle.saga_id) for handle in handles]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda handle: owner.signal(handle.saga_id, "go_0"), handles))
    assert all(handle.result(TIMEOUT_S).completed for handle in followed)
    assert len(other._worker._remote) == 0
    assert pending(store) == 0
