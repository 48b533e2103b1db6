"""Overload in virtual time: the real threads, queues and loop, for ten minutes that pass in seconds."""

from __future__ import annotations

import heapq
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from saga_es.commands import Cancel, SendSignal
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.runtime.calls import executor as executors
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.handle import Handle
from saga_es.runtime.inbox import CommandRequest, StartRequest
from saga_es.runtime.worker import Worker
from saga_es.store.log.codec import PLAN, Codec
from saga_es.store.log.entries import Draft, prepare
from saga_es.store.sagas import Sagas
from saga_es.store.store import Store
from saga_es.testing.clock import BEGINNING, VirtualClock
from saga_es.testing.faults import Calm
from saga_es.testing.memory import MemoryLog, MemoryNotifications, MemoryStore, MemoryWorkers, MemoryWriter
from saga_es.testing.world import NOWHERE
from tests.conftest import TIMEOUT_S

THREADS = 4
OVERLOAD = 50 * THREADS
STEP_S = 1.0
LASTS_S = 600.0
LOOK_EVERY_S = 3.0


class Hall:
    """Where steps take virtual time: they block their threads until the clock is moved far enough."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._sleepers: list[tuple[datetime, int, threading.Event]] = []
        self._serial = count()
        self.most = 0

    def stay(self, seconds: float) -> None:
        """Block until so many virtual seconds have passed."""
        gate = threading.Event()
        with self._changed:
            heapq.heappush(self._sleepers, (self._clock.now() + timedelta(seconds=seconds), next(self._serial), gate))
            self.most = max(self.most, len(self._sleepers))
            self._changed.notify_all()
        assert gate.wait(TIMEOUT_S)

    def wait_for(self, settled: Callable[[int], bool]) -> None:
        """Wait until the threads have come to rest."""
        with self._changed:
            while not settled(len(self._sleepers)):
                self._changed.wait(0.001)

    def next_wake(self) -> datetime | None:
        """When the first of them is to go on."""
        return self._sleepers[0][0] if self._sleepers else None

    def wake(self) -> None:
        """Let those go on whose time has come."""
        with self._changed:
            while self._sleepers and self._sleepers[0][0] <= self._clock.now():
                heapq.heappop(self._sleepers)[2].set()


class Station:
    """One worker with real threads, on a store in memory, in virtual time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = VirtualClock()
        self.hall = Hall(self.clock)
        self.executor = Executor(threads=THREADS)
        monkeypatch.setattr(self.executor._backlog, "_now", self.seconds)
        self.memory, codec = MemoryStore(self.clock), Codec()
        self.log = MemoryLog(self.memory, codec)
        self.slow, self.quick, self.asked = self._definitions()
        for saga in (self.slow, self.quick, self.asked):
            draft = Draft(saga.plan_id, PLAN, 0, (e.PlanRecorded(saga.plan),), self.clock.now())
            self.memory.append(draft, prepare(draft, codec).rows)
        workers, writer = MemoryWorkers(self.memory), MemoryWriter(self.memory, codec, Calm(), "worker-1")
        store = Store(self.log, Sagas(self.log), writer, workers, MemoryNotifications(self.memory))
        definitions = (self.slow, self.quick, self.asked)
        self.worker = Worker(store, self.executor, self.clock, definitions, process=NOWHERE)
        self.worker.worker_id = "worker-1"
        self.worker.begin_work()
        self._agenda: list[tuple[datetime, int, Callable[[], object]]] = []
        self._serial = count()
        self._started = 0
        self.ended: Counter[str] = Counter()
        self.took: dict[str, list[float]] = {"slow": [], "quick": [], "signal": [], "cancel": []}
        self.silent_s = 0.0

    def _definitions(self) -> tuple[Saga, Saga, Saga]:
        slow, quick, asked = Saga("slow"), Saga("quick"), Saga("asked")

        @slow.step(timeout_s=2 * STEP_S)
        def take_time() -> None:
            self.hall.stay(STEP_S)

        @slow.compensates(take_time)
        def take_it_back() -> None:
            self.hall.stay(STEP_S)

        quick.step(compensation=None)(_at_once)
        asked.wait_for("answer", timeout_s=None)
        return slow, quick, asked

    def seconds(self) -> float:
        """Virtual seconds since the beginning."""
        return (self.clock.now() - BEGINNING).total_seconds()

    def at(self, after_s: float, act: Callable[[], object]) -> None:
        """Have something happen so many seconds from now."""
        heapq.heappush(self._agenda, (self.clock.now() + timedelta(seconds=after_s), next(self._serial), act))

    def start(self, saga: Saga, name: str, then: Callable[[], object] = lambda: None) -> str:
        """Start a saga; its end is counted under a name."""
        handle, began = Handle(f"{name}-{next(self._serial)}"), self.seconds()

        def has_ended(future: Any) -> None:
            self.ended[f"{name} {future.result().status}"] += 1
            self.took[name].append(self.seconds() - began)
            then()

        handle.when_ended(has_ended)
        self._started += 1
        self.worker.inbox.put(StartRequest(handle.saga_id, saga, {}, handle))
        return handle.saga_id

    def keep_going(self) -> None:
        """Start a slow saga, and another whenever one has ended, until the time is over."""
        self.start(self.slow, "slow", lambda: self.keep_going() if self.seconds() < LASTS_S else None)

    def look(self) -> None:
        """Start what has nothing to do with the slow ones."""
        if self.seconds() < LASTS_S:
            self.start(self.quick, "quick")
            answered, left = self.start(self.asked, "signal"), self.start(self.asked, "cancel")
            self.worker.inbox.put(CommandRequest(answered, SendSignal("answer", 1), Future()))
            self.worker.inbox.put(CommandRequest(left, Cancel("Ann", "because"), Future()))
            self.at(LOOK_EVERY_S, self.look)

    def run(self) -> None:
        """Let everything happen until nothing is left to do."""
        inbox = self.worker.inbox
        while self._agenda or self.ended.total() < self._started:
            while len(inbox) or self.worker.idle_s() == 0:
                self.worker.iterate(inbox.take())
            self.hall.wait_for(lambda asleep: len(inbox) > 0 or asleep == min(THREADS, self._in_flight))
            if not len(inbox):
                self._move_on()

    @property
    def _in_flight(self) -> int:
        return self.worker._dispatch.in_flight

    def _move_on(self) -> None:
        idle_s = self.worker.idle_s()
        times = [self.hall.next_wake(), self._agenda[0][0] if self._agenda else None]
        times.append(None if idle_s is None else self.clock.now() + timedelta(seconds=idle_s))
        self.clock.move_to(min(time for time in times if time is not None))
        self.silent_s = max(self.silent_s, self.clock.now().timestamp() - self.memory.living["worker-1"])
        self.hall.wake()
        while self._agenda and self._agenda[0][0] <= self.clock.now():
            heapq.heappop(self._agenda)[2]()


def test_overload_of_fifty_times_the_capacity_for_ten_minutes_only_makes_sagas_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None ends otherwise than without it, others wait for less than two steps more, the limit holds."""
    alone, crowded = Station(monkeypatch), Station(monkeypatch)
    for station, count_ in ((alone, 0), (crowded, OVERLOAD)):
        monkeypatch.setattr(executors, "monotonic_s", station.seconds)
        for _ in range(count_):
            station.keep_going()
        station.look()
        station.run()
        station.executor.close()
    slow = crowded.ended.pop(f"slow {SagaStatus.COMPLETED}")
    assert slow >= LASTS_S / STEP_S * THREADS
    assert crowded.ended == alone.ended
    assert crowded.hall.most == THREADS
    for name in ("quick", "signal", "cancel"):
        assert _p99(crowded.took[name]) - _p99(alone.took[name]) < 2 * STEP_S
    assert max(crowded.took["signal"] + crowded.took["cancel"]) < STEP_S / 2
    assert crowded.silent_s <= MemoryWorkers(crowded.memory).lease_s / 2


def _p99(took: Sequence[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


def _at_once() -> int:
    return 1
