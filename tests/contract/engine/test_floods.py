"""Thousands of sagas at one moment: the heart beats on, for whoever does not say that he lives counts as gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.commands import Pause, Resume
from saga_es.core.commands import Command
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.errors import UnreadableEvent
from saga_es.runtime.batch import MAX_TRANSACTION_SIZE
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.port import Call, Returned
from saga_es.runtime.handle import Handle
from saga_es.runtime.inbox import MOST_AT_ONCE, CommandRequest, StartRequest
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.worker import Worker
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Receipt
from saga_es.store.process import Process
from saga_es.store.sagas import Found, Sagas
from saga_es.store.tables import saga_workers
from saga_es.store.workers import Workers
from saga_es.store.writer import Writer
from saga_es.testing.clock import VirtualClock
from tests.conftest import Store

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MANY = 4000
EACH_S = 0.005
"""What a saga costs the loop here: all of them together twice a lease."""

LEASE_S = 10.0
NAP_S = 3600.0


class SlowWorker:
    """A loop that takes its turns when it is told to, on a clock by which writing and reading sagas take their time."""

    def __init__(self, store: Store, saga: Saga, executor: Executor | None = None) -> None:
        self.clock = VirtualClock()
        self.beats = [self.clock.now()]
        self.batches: list[int] = []
        self.sizes: list[int] = []
        self.each_s = EACH_S
        self.seen: set[str] = set()
        self._saga = saga
        slow = replace(store, writer=_Slow(store, self), sagas=_Slowly(store, self), workers=_Beating(store, self))
        self.loop = Worker(slow, executor or Executor(), self.clock, [saga])
        self.inbox = self.loop.inbox
        Starts(store, [saga], self.clock).record_plans()
        self.loop.begin_work()

    def begin(self, many: int, **input_: Any) -> None:
        """Have so many sagas asked for at once."""
        for number in range(many):
            handle = Handle(f"saga-{number}")
            self.inbox.put(StartRequest(handle.saga_id, self._saga, input_, handle))

    def ask(self, saga_id: str, order: Command) -> Future[None]:
        """Have an order given."""
        done: Future[None] = Future()
        self.inbox.put(CommandRequest(saga_id, order, done))
        return done

    def turn_until(self, is_so: Callable[[], bool]) -> None:
        """Take turns, and sleep between them, until this is so."""
        for _ in range(200):
            if is_so():
                return
            if not len(self.inbox):
                self.clock.sleep(self.loop.idle_s() or 0.0)
            self.loop.iterate(self.inbox.take())
        raise AssertionError("it does not come to an end")

    def pass_on(self, many: int) -> None:
        """Let the time pass that so many sagas take."""
        self.clock.sleep(many * self.each_s)

    @property
    def longest_silence_s(self) -> float:
        """The longest time between two beats of the heart."""
        return max((later - earlier).total_seconds() for earlier, later in pairwise([*self.beats, self.clock.now()]))


class _Slow(Writer):
    def __init__(self, store: Store, worker: SlowWorker) -> None:
        super().__init__(store.database, store.log, store.views)
        self._worker = worker

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        self._worker.batches.append(len(batch))
        self._worker.sizes.append(sum(prepared.size for prepared in batch))
        self._worker.pass_on(len(batch))
        return super().write(batch)


class _Slowly(Sagas):
    def __init__(self, store: Store, worker: SlowWorker) -> None:
        super().__init__(store.log)
        self._worker = worker

    def find(self, saga_id: str) -> SagaState | None:
        self._worker.pass_on(1)
        return super().find(saga_id)

    def find_many(self, saga_ids: Sequence[str]) -> dict[str, SagaState | UnreadableEvent]:
        self._worker.pass_on(len(saga_ids))
        self._worker.seen.update(saga_ids)
        return super().find_many(saga_ids)

    def find_within(self, saga_ids: Sequence[str], most_bytes: int | None) -> tuple[Found, Sequence[str]]:
        found, left = super().find_within(saga_ids, most_bytes)
        self._worker.pass_on(len(found) if most_bytes is not None else 0)
        return found, left


class _Beating(Workers):
    def __init__(self, store: Store, worker: SlowWorker) -> None:
        super().__init__(store.database, LEASE_S)
        self._worker = worker

    def beat(self, worker_id: str, process: Process, code: str | None = None) -> bool:
        self._worker.beats.append(self._worker.clock.now())
        return super().beat(worker_id, process, code)


class _Silent(Executor):
    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        del calls, returned
        return []

    def left_s(self, call: Call) -> float:
        del call
        return 0.0


def napping() -> Saga:
    saga = Saga("napping")
    saga.delay("nap", NAP_S)
    return saga


@pytest.fixture
def busy(store: Store) -> SlowWorker:
    """A worker that thousands have just been asked of; it has written them all."""
    worker = SlowWorker(store, napping())
    worker.begin(MANY)
    worker.turn_until(lambda: len(worker.inbox) == 0)
    return worker


def test_thousands_of_starts_are_written_in_batches_between_which_the_heart_beats(busy: SlowWorker) -> None:
    """None is the larger for all those that wait for the next."""
    assert sum(busy.batches) == MANY
    assert max(busy.batches) == MOST_AT_ONCE
    assert busy.longest_silence_s < LEASE_S


def test_a_batch_of_many_bytes_is_written_in_parts_between_which_the_heart_beats(store: Store) -> None:
    """However large its drafts, a transaction is none that a database refuses, or that takes as long as a lease."""
    worker = SlowWorker(store, napping())
    worker.each_s = 0.5
    worker.begin(40, text="x" * 1_000_000)
    worker.turn_until(lambda: len(worker.inbox) == 0)
    assert worker.loop.active == sum(worker.batches) == 40
    assert max(worker.sizes) <= MAX_TRANSACTION_SIZE < sum(worker.sizes)
    assert worker.longest_silence_s < LEASE_S
    assert len(store.log.entries()) == 1 + 2 * 40


def test_the_heart_beats_while_thousands_wake_up_at_the_same_time(busy: SlowWorker) -> None:
    """What is to be done now and then does not wait until all are done that were due before it."""
    busy.clock.move_to(busy.beats[0] + timedelta(seconds=2 * NAP_S))
    busy.beats[:] = [busy.clock.now()]
    busy.batches.clear()
    busy.turn_until(lambda: busy.loop.active == 0)
    assert sum(busy.batches) == MANY
    assert max(busy.batches) <= MOST_AT_ONCE
    assert busy.longest_silence_s < LEASE_S


def test_the_heart_beats_while_thousands_are_seen_again_by_a_worker_that_had_counted_as_gone(
    busy: SlowWorker, store: Store
) -> None:
    """Or it would count as gone once more before it has seen them all, and begin again for ever."""
    with store.database.writing() as connection:
        connection.execute(sa.delete(saga_workers))
    busy.clock.sleep(LEASE_S)
    busy.beats[:] = [busy.clock.now()]
    busy.turn_until(lambda: len(busy.seen) == MANY)
    assert busy.loop.active == MANY
    assert busy.longest_silence_s < LEASE_S


def test_hundreds_of_commands_for_sagas_of_another_worker_hold_up_neither_the_heartbeat_nor_ones_own_sagas(
    store: Store,
) -> None:
    """Each is a read and a commit: a turn gives but some of them, and in the end all were given, in their order."""
    other = SlowWorker(store, napping())
    other.begin(200)
    other.turn_until(lambda: other.loop.active == 200)
    worker = SlowWorker(store, napping())
    worker.each_s = 0.03
    orders: list[Command] = [Pause(actor="ann", reason="lunch"), Resume(actor="ann", reason="back")]
    given = [worker.ask(f"saga-{number}", order) for order in orders for number in range(200)]
    worker.loop.iterate(worker.inbox.take())
    mine = Handle("mine")
    worker.inbox.put(StartRequest("mine", napping(), {}, mine))
    worker.turn_until(lambda: worker.loop.active > 0)
    so_far = [done.done() for done in given]
    assert so_far == sorted(so_far, reverse=True)
    assert 0 < sum(so_far) < 100
    worker.turn_until(lambda: all(done.done() for done in given))
    assert [done.exception() for done in given] == [None] * 400
    assert worker.longest_silence_s < LEASE_S


def test_answers_are_not_waited_for_while_a_whole_batch_waits(store: Store) -> None:
    """What a turn says is enough for the next is never more than the next takes."""
    saga = Saga("calling")

    @saga.step(compensation=None)
    def call() -> None:
        """Never."""

    worker = SlowWorker(store, saga, _Silent())
    worker.begin(MANY)
    assert worker.loop.iterate(worker.inbox.take()) == MOST_AT_ONCE
    assert len(worker.inbox) > MOST_AT_ONCE
