"""Who is at work: a heartbeat, a goodbye, and the burial of those who are gone; never of one who lives."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Written
from saga_es.store.process import Process
from saga_es.store.tables import saga_workers
from saga_es.store.workers import database_now
from tests.conftest import AT, TIMEOUT_S, Store
from tests.support.any_store import AnyStore
from tests.support.moved_clocks import MovedClock

ELSEWHERE = Process(host="another-machine", pid=1, pid_started="1")

TELL_AND_WAIT = """
import sys, msgspec
from saga_es.store.ports import Written
from saga_es.store.process import Process
print(msgspec.json.encode(Process.this()).decode(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def neighbour() -> Iterator[tuple[Process, subprocess.Popen[str]]]:
    """Another living process on this host, and how it is known."""
    with subprocess.Popen(
        [sys.executable, "-c", TELL_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            assert started.stdout is not None
            yield msgspec.json.decode(started.stdout.readline(), type=Process), started
        finally:
            started.kill()


def there(store: AnyStore | Store) -> set[str]:
    return set(store.workers.heartbeats())


# ── Heartbeats ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_beat_makes_the_row(store: Store) -> None:
    """A worker that says that it lives is there, as the process that it is."""
    store.workers.beat("w-1", Process.this())
    with store.database.reading() as connection:
        row = connection.execute(sa.select(saga_workers)).one()
    assert Process(row.host, row.pid, row.pid_started) == Process.this()


def test_a_beat_is_by_the_clock_of_the_database(store: Store) -> None:
    """The heartbeat lies between what the database's clock says before and after, to better than a second."""
    with store.database.reading() as connection:
        before = connection.scalar(sa.select(database_now()))
    store.workers.beat("w-1", Process.this())
    with store.database.reading() as connection:
        after = connection.scalar(sa.select(database_now()))
    assert before is not None
    assert after is not None
    assert before <= store.workers.heartbeats()["w-1"] <= after < before + TIMEOUT_S


def test_each_beat_moves_the_heartbeat_and_adds_no_row(any_store: AnyStore) -> None:
    """A second beat is seen in the same row."""
    any_store.workers.beat("w-1", Process.this())
    any_store.age("w-1", 5)
    old = any_store.workers.heartbeats()["w-1"]
    any_store.workers.beat("w-1", Process.this())
    assert any_store.workers.heartbeats()["w-1"] >= old + 5
    assert there(any_store) == {"w-1"}


def test_a_worker_that_leaves_is_gone(any_store: AnyStore) -> None:
    """`leave` removes its row and no other; to leave twice is no fault; a beat afterwards makes it anew."""
    any_store.workers.beat("w-1", Process.this())
    any_store.workers.beat("w-2", Process.this())
    any_store.workers.leave("w-1")
    any_store.workers.leave("w-1")
    assert there(any_store) == {"w-2"}
    any_store.workers.beat("w-1", Process.this())
    assert there(any_store) == {"w-1", "w-2"}


def test_a_beat_says_whether_there_was_a_row(any_store: AnyStore) -> None:
    """At the first beat there was none, nor after a goodbye or a burial: the worker had counted as gone."""
    beat = any_store.workers.beat
    assert [beat("w-1", ELSEWHERE) for _ in range(2)] == [True, False]
    any_store.workers.leave("w-1")
    assert beat("w-1", ELSEWHERE)
    any_store.age("w-1", 100)
    assert any_store.workers.bury() == ["w-1"]
    assert [beat("w-1", ELSEWHERE) for _ in range(2)] == [True, False]
    assert any_store.workers.bury() == []


# ── Burial ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_whose_lease_ran_out_is_buried(any_store: AnyStore) -> None:
    """Without a heartbeat for longer than the lease, a worker on another host counts as gone; just below, not.

    Below by as much as a busy machine may take for what is done here.
    """
    workers = any_store.workers_with(lease_s=100)
    for worker_id, seconds in (("late", 100.5), ("slow", 100 - TIMEOUT_S), ("fresh", 0.0)):
        workers.beat(worker_id, ELSEWHERE)
        any_store.age(worker_id, seconds)
    assert workers.bury() == ["late"]
    assert there(any_store) == {"slow", "fresh"}


def test_the_lease_is_a_setting(any_store: AnyStore) -> None:
    """The same heartbeat is too old for a short lease, and fine for a long one; it is ten seconds unless told."""
    assert any_store.workers.lease_s == 10
    any_store.workers.beat("w-1", ELSEWHERE)
    any_store.age("w-1", 5)
    assert any_store.workers_with(lease_s=60).bury() == []
    assert any_store.workers_with(lease_s=2).bury() == ["w-1"]


def test_a_worker_whose_process_is_gone_is_buried_at_once(any_store: AnyStore) -> None:
    """Its fresh heartbeat counts for nothing; it is buried once, and what it left is an orphan."""
    any_store.beat_and_die("w-1")
    any_store.workers.beat("w-2", Process.this())
    saga(any_store, "s-1", "w-1")
    saga(any_store, "s-2", "w-2")
    assert any_store.workers.orphans(10, ["trip"]) == {}
    assert [any_store.workers.bury() for _ in range(2)] == [["w-1"], []]
    assert any_store.workers.orphans(10, ["trip"]) == {"s-1": "w-1"}
    assert there(any_store) == {"w-2"}


def test_a_killed_process_on_this_host_is_buried_at_once(
    store: Store, neighbour: tuple[Process, subprocess.Popen[str]]
) -> None:
    """While it lives it is left alone; after kill -9, its fresh heartbeat counts for nothing."""
    process, running = neighbour
    store.workers.beat("w-1", process)
    store.workers.beat("w-2", Process.this())
    assert store.workers.bury() == []
    running.kill()
    running.wait(TIMEOUT_S)
    assert store.workers.bury() == ["w-1"]
    assert there(store) == {"w-2"}


def test_a_process_is_not_its_successor_with_the_same_number(store: Store) -> None:
    """A living process that got a dead one's number does not keep the dead one's worker alive."""
    this = Process.this()
    store.workers.beat("w-1", Process(this.host, this.pid, "1"))
    store.workers.beat("w-2", this)
    assert store.workers.bury() == ["w-1"]


def test_the_living_are_never_buried(store: Store, neighbour: tuple[Process, subprocess.Popen[str]]) -> None:
    """This process, its neighbour, and one on another host of which nothing but a heartbeat is known."""
    for worker_id, process in (("this", Process.this()), ("neighbour", neighbour[0]), ("elsewhere", ELSEWHERE)):
        store.workers.beat(worker_id, process)
    assert [store.workers.bury() for _ in range(3)] == [[], [], []]
    assert there(store) == {"this", "neighbour", "elsewhere"}


# ── Orphans ──────────────────────────────────────────────────────────────────────────────────────────────


def saga(
    store: AnyStore | Store, saga_id: str, owner: str | None, *more: e.SagaEvent, name: str = "trip", second: int = 0
) -> None:
    events = (e.SagaStarted(name, "plan-1", {}, owner), *more)
    assert store.write(Draft(saga_id, SAGA, 0, events, AT.replace(second=second))) == [Written()]


def test_the_unfinished_sagas_of_nobody_alive_are_orphans(any_store: AnyStore) -> None:
    """Those of a worker without a row, and those that never had a worker; not those of the living, nor the ended."""
    any_store.workers.beat("alive", Process.this())
    saga(any_store, "kept", "alive")
    saga(any_store, "left", "dead")
    saga(any_store, "waiting", None)
    saga(any_store, "taken", "dead", e.SagaTakenOver("alive", "dead"))
    ends: tuple[e.SagaEvent, ...] = (e.SagaCompleted(), e.SagaCompensated(), e.SagaFailed("x"))
    for number, end in enumerate(ends):
        saga(any_store, f"ended-{number}", "dead", end)
    assert set(any_store.workers.orphans(10, ["trip"])) == {"left", "waiting"}


def test_orphans_come_oldest_first_and_at_most_so_many(any_store: AnyStore) -> None:
    """The limit cuts the youngest off; of the same age, the id decides."""
    for saga_id, second in (("young", 9), ("b-old", 1), ("a-old", 1), ("oldest", 0)):
        saga(any_store, saga_id, "dead", second=second)
    assert list(any_store.workers.orphans(10, ["trip"])) == ["oldest", "a-old", "b-old", "young"]
    assert list(any_store.workers.orphans(2, ["trip"])) == ["oldest", "a-old"]
    assert list(any_store.workers.orphans(2, ["trip"], apart_from=["oldest", "b-old"])) == ["a-old", "young"]


def test_when_sagas_moved_last_can_be_asked_for(any_store: AnyStore) -> None:
    """Of those that there are; that of an event which came last counts."""
    saga(any_store, "s-1", "dead", second=1)
    saga(any_store, "s-2", "dead", second=7)
    moved_at = any_store.workers.moved_at(["s-1", "s-2", "no such"])
    assert moved_at["s-2"] - moved_at["s-1"] == timedelta(seconds=6)
    assert set(moved_at) == {"s-1", "s-2"}


def test_orphans_can_be_asked_for_by_name(any_store: AnyStore) -> None:
    """A worker that knows only some definitions finds only theirs, and can tell how many there are of others."""
    saga(any_store, "s-1", "dead", name="trip")
    saga(any_store, "s-2", "dead", name="order")
    assert any_store.workers.orphans(10, ["order", "no such"]) == {"s-2": "dead"}
    assert any_store.workers.orphans(10, []) == {}
    assert any_store.workers.orphans_of_others(["order"]) == {"trip": 1}
    assert any_store.workers.orphans_of_others([]) == {"order": 1, "trip": 1}
    assert any_store.workers.orphans_by_plan() == {("order", "plan-1"): 1, ("trip", "plan-1"): 1}


def test_orphans_among_some_are_those_that_may_go_on_here(any_store: AnyStore) -> None:
    """Those that have begun, and PENDING ones of the definitions that a worker has capacity for."""
    saga(any_store, "begun", "dead")
    saga(any_store, "not asked for", "dead")
    saga(any_store, "trip", None)
    saga(any_store, "order", None, name="order")
    asked = ["begun", "trip", "order", "no such"]
    among = any_store.workers.orphans_among
    assert among(asked, ["trip", "order"], ["order"]) == {"begun": "dead", "order": None}
    assert among(asked, ["trip", "order"], []) == {"begun": "dead"}
    assert among(asked, ["order"], ["order"]) == {"order": None}


def test_an_orphan_is_told_with_its_last_owner(any_store: AnyStore) -> None:
    """The one who took it over last, not the one who began it; nobody, where it was reopened or never begun."""
    saga(any_store, "taken", "first", e.SagaTakenOver("second", "first"))
    reopened = e.SagaReopened("COMPENSATING", "ann", "why not", AT)
    saga(any_store, "reopened", "first", e.SagaFailed("x"), reopened)
    saga(any_store, "pending", None)
    assert any_store.workers.orphans(10, ["trip"]) == {"pending": None, "reopened": None, "taken": "second"}


def test_all_sagas_of_the_buried_are_orphans_at_once(
    store: Store, neighbour: tuple[Process, subprocess.Popen[str]]
) -> None:
    """A neighbour's saga is not to be had while it lives, and is as soon as it is buried."""
    process, running = neighbour
    store.workers.beat("w-1", process)
    saga(store, "s-1", "w-1")
    assert (store.workers.bury(), store.workers.orphans(10, ["trip"])) == ([], {})
    running.kill()
    running.wait(TIMEOUT_S)
    assert (store.workers.bury(), list(store.workers.orphans(10, ["trip"]))) == (["w-1"], ["s-1"])


def test_orphans_that_have_not_begun_are_found_when_their_deadline_has_passed(any_store: AnyStore) -> None:
    """Not before, none that is paused, none that has begun, and none of a worker that lives."""
    any_store.workers.beat("alive", Process.this())
    due = AT + timedelta(seconds=60)

    def unbegun(
        saga_id: str, *more: e.SagaEvent, worker: str | None = None, deadline_at: datetime | None = due
    ) -> None:
        starts_at = AT if worker else None
        started = e.SagaStarted("trip", "plan-1", {}, worker, starts_at=starts_at, deadline_at=deadline_at)
        assert any_store.write(Draft(saga_id, SAGA, 0, (started, *more), AT)) == [Written()]

    unbegun("waits")
    unbegun("paused", e.SagaPaused("ann", "wait"))
    unbegun("began", e.SagaTakenOver("dead"), e.SagaBegan())
    unbegun("owned", worker="alive")
    unbegun("left", worker="dead")
    unbegun("endless", deadline_at=None)
    find = any_store.workers.expired_orphans
    assert find(10, ["trip"], due - timedelta(seconds=1)) == {}
    assert find(10, ["trip"], due) == {"waits": None, "left": "dead"}
    assert list(find(1, ["trip"], due)) == ["left"]
    assert find(10, ["order"], due) == {}


# ── By whose clock ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("off_s", [-3600.0, 3600.0])
def test_only_the_clock_of_the_database_says_who_lives(
    store: Store, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    """It is an hour from that of this host: who has just sent a heartbeat lives, who was silent for a lease is gone."""
    MovedClock(store, monkeypatch).move(off_s)
    for worker_id in ("lives", "silent"):
        store.workers.beat(worker_id, ELSEWHERE, code="{}")
    for _ in range(2):  # the first beat makes the row, the second moves it
        store.workers.beat("lives", ELSEWHERE)
    now_s = store.workers.now_s()
    assert now_s - TIMEOUT_S < store.workers.heartbeats()["lives"] <= now_s
    with store.database.writing() as connection:
        before = {"heartbeat_at": now_s - 2 * store.workers.lease_s}
        connection.execute(sa.update(saga_workers).where(saga_workers.c.worker_id == "silent").values(before))
    assert store.workers.codes() == {"lives": "{}"}
    assert store.workers.bury() == ["silent"]


def test_workers_that_come_at_once_do_not_hinder_each_other(store: Store) -> None:
    """No database gives one of them up for another."""
    complaints: list[BaseException] = []
    together = threading.Barrier(8)

    def come(number: int) -> None:
        try:
            for turn in range(10):
                together.wait(20)
                assert store.workers.beat(f"w-{turn}-{number}", ELSEWHERE)
        except BaseException as error:  # noqa: BLE001 (the test says what)
            complaints.append(error)
            together.abort()

    workers = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert complaints == []
