"""A small world in which sagas run in virtual time: the production loop and core, a store in memory, and faults.

Nothing here waits: when nothing is to be done, the clock moves to the next time when something is. A worker that dies
is dropped at once, with its inbox and its timers. Its calls still arrive at participants, and the next worker takes
over what it finds in the store.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.commands import Command
from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.saga import Saga, family
from saga_es.runtime.calls.transport import Transport
from saga_es.runtime.handle import Handle
from saga_es.runtime.inbox import CommandRequest, StartRequest
from saga_es.runtime.limits import Limits
from saga_es.runtime.worker import Worker
from saga_es.store.log.codec import PLAN, Codec
from saga_es.store.log.entries import Draft, prepare
from saga_es.store.process import Process
from saga_es.store.sagas import Sagas
from saga_es.store.store import Store
from saga_es.testing.clock import VirtualClock
from saga_es.testing.executor import NetworkExecutor
from saga_es.testing.faults import Calm, Crash, Faults
from saga_es.testing.memory import MemoryLog, MemoryNotifications, MemoryStore, MemoryWorkers, MemoryWriter
from saga_es.testing.network import Network

RESTART_S = 1.0
"""Seconds from a death until the next worker is up."""

LULL = 100
"""Iterations without news after which chores are skipped: by then they would have found everything."""

MAX_ITERATIONS = 5_000
"""More than any saga needs that comes to an end."""

NOWHERE = Process("a simulated host", 0, "")

CODEC = Codec()


Deployment = tuple[float, Sequence[Saga], bool]
"""After how many seconds, which definitions are deployed, and whether the workers that are up then stay."""


class World:
    """One simulated run.

    Args:
        sagas: The definitions; the definitions of their children are added.
        faults: What goes wrong; None: nothing.
        transports: The transports of participants, by name; they are called at once, in this thread.
        workers: How many are up from the start. When the last worker is gone, another comes up.
        payload_memory: The budget of each worker for payloads; 0: all sagas that wait are asleep after each batch.

    Attributes:
        deployments: What is deployed after the next death of a worker.
    """

    def __init__(
        self,
        sagas: Iterable[Saga],
        faults: Faults | None = None,
        transports: Mapping[str, Transport] | None = None,
        workers: int = 1,
        payload_memory: int | None = None,
    ) -> None:
        self.limits = Limits(payload_memory=payload_memory)
        self.definitions = family(sagas)
        self.faults = faults or Calm()
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock)
        self.log = MemoryLog(self.store, CODEC)
        self.sagas = Sagas(self.log)
        self.network = Network(self.log, self.faults, self.at, transports or {})
        self.workers: list[_Worker] = []
        self.deployments: list[Deployment] = []
        self._asked: list[StartRequest] = []
        self._agenda: list[tuple[datetime, int, Callable[[], object]]] = []
        self._serial = count()
        self._seen = 0
        self._idle = 0
        self._record_plans()
        for _ in range(workers):
            self._hire()

    def start(self, saga: Saga, input_: dict[str, Any], saga_id: str, *, starts_at: datetime | None = None) -> None:
        """Start a saga; the start is repeated after each death of a worker, as a caller with a key would do."""
        begin = StartRequest(saga_id, saga, input_, Handle(saga_id), starts_at=starts_at)
        self._asked.append(begin)
        self.worker.inbox.put(begin)

    def ask(self, saga_id: str, command: Command, after_s: float = 0.0) -> None:
        """Send a command so many seconds from now; it is repeated until a worker has recorded it."""

        def give() -> None:
            done: Future[None] = Future()
            self.worker.inbox.put(CommandRequest(saga_id, command, done))
            self.at(RESTART_S * 2, lambda: None if done.done() else give())

        self.at(after_s, give)

    def deploy(self, sagas: Iterable[Saga], *, others_stay: bool = False) -> None:
        """Let a worker with these definitions come up; the workers that are up die, unless they stay."""
        self.definitions = family(sagas)
        self._record_plans()
        for worker in self.workers:
            if worker.is_alive and not others_stay:
                worker.is_alive = False
                self.store.dead.add(worker.loop.worker_id)
        self._hire()
        self._repeat_starts()

    def at(self, after_s: float, action: Callable[[], object]) -> None:
        """Schedule something for so many seconds from now."""
        heapq.heappush(self._agenda, (self.clock.now() + timedelta(seconds=after_s), next(self._serial), action))

    def run(self) -> None:
        """Run until every saga has ended and nothing is on its way any more.

        Raises:
            AssertionError: It does not come to an end.
        """
        for _ in range(MAX_ITERATIONS):
            if not self._happens():
                return
        raise AssertionError(f"after {MAX_ITERATIONS} iterations: {self.describe()}")

    @property
    def worker(self) -> _Worker:
        """The worker that callers reach."""
        up = [worker for worker in self.workers if worker.is_up(self.clock.now())]
        return up[0] if up else self.workers[-1]

    def state(self, saga_id: str) -> SagaState | None:
        """A saga, folded from its log."""
        return self.sagas.find(saga_id)

    def describe(self) -> str:
        """The sagas and their statuses."""
        return ", ".join(f"{saga_id} is {row['status']}" for saga_id, row in self.store.sagas.items()) or "no sagas"

    @property
    def all_ended(self) -> bool:
        """Whether every saga that was started has ended."""
        rows = self.store.sagas
        return all(begin.saga_id in rows for begin in self._asked) and all(
            SagaStatus(row["status"]).ended for row in rows.values()
        )

    # ── One thing after the other ────────────────────────────────────────────────────────────────────────

    def _happens(self) -> bool:
        """Let the next thing happen; False when nothing is left."""
        now = self.clock.now()
        for worker in self.workers:
            if worker.is_up(now) and worker.has_work:
                self._iterate(worker)
                return True
        all_ended, chores = self.all_ended, self._idle < LULL
        if all_ended and not self._agenda:
            return False
        due = [worker.next_due(now, chores=chores) for worker in self.workers if worker.is_alive and not all_ended]
        times = [time for time in [*due, self._agenda[0][0] if self._agenda else None] if time is not None]
        if not times:
            raise AssertionError(f"nothing will ever happen again, but {self.describe()}")
        self.clock.move_to(min(times))
        if all_ended or not chores:
            self._beat_meanwhile()
        if self._agenda and self._agenda[0][0] <= self.clock.now():
            heapq.heappop(self._agenda)[2]()
        return True

    def _iterate(self, worker: _Worker) -> None:
        if self.faults.freezes():
            worker.frozen_until = self.clock.now() + timedelta(seconds=3 * worker.lease_s)
            self._bury(worker)
            return
        seen = self.store.positions + len(self.network.history)
        self._idle = self._idle + 1 if seen == self._seen else 0
        self._seen = seen
        try:
            worker.loop.iterate(worker.inbox.take())
        except Crash:
            worker.is_alive = False
            self._bury(worker)

    def _beat_meanwhile(self) -> None:
        """Record heartbeats of the workers that are up: time has passed in which they would have beaten."""
        now = self.clock.now()
        for worker in self.workers:
            if worker.is_up(now) and worker.loop.worker_id in self.store.living:
                self.store.beat(worker.loop.worker_id)

    def _bury(self, worker: _Worker) -> None:
        self.store.dead.add(worker.loop.worker_id)
        deployments, self.deployments = self.deployments, []
        for after_s, sagas, others_stay in deployments:
            self.at(after_s, partial(self.deploy, sagas, others_stay=others_stay))
        self.at(RESTART_S, self._carry_on)

    def _carry_on(self) -> None:
        if not any(worker.is_up(self.clock.now()) for worker in self.workers):
            self._hire()
        self._repeat_starts()

    def _repeat_starts(self) -> None:
        """The callers that got no answer repeat their starts, on a worker that knows the definition."""
        there = {saga.name: saga for saga in self.definitions}
        for begin in self._asked:
            definition = there.get(begin.definition.name)
            if begin.saga_id not in self.store.sagas and definition is not None:
                self.worker.inbox.put(replace(begin, definition=definition))

    def _record_plans(self) -> None:
        for saga in self.definitions:
            draft = Draft(saga.plan_id, PLAN, 0, (e.PlanRecorded(saga.plan),), self.clock.now())
            self.store.append(draft, prepare(draft, CODEC).rows)

    def _hire(self) -> None:
        self._idle = 0  # the new worker has chores to run
        self.workers.append(_Worker(self, len(self.workers) + 1))


class _Worker:
    """One process: a loop, its inbox, its timers."""

    def __init__(self, world: World, number: int) -> None:
        self.is_alive = True
        self.frozen_until: datetime | None = None
        worker_id = f"worker-{number}"
        workers = MemoryWorkers(world.store)
        self.lease_s = workers.lease_s
        self._clock = world.clock
        store = Store(
            world.log,
            world.sagas,
            MemoryWriter(world.store, CODEC, world.faults, worker_id),
            workers,
            MemoryNotifications(world.store),
        )
        executor = NetworkExecutor(world.network, world.clock, world.faults, lambda: self.is_alive)
        self.loop = Worker(store, executor, world.clock, world.definitions, world.limits, NOWHERE)
        self.inbox = self.loop.inbox
        self.loop.worker_id = worker_id
        self.loop.begin_work()

    def is_up(self, now: datetime) -> bool:
        """Whether it iterates."""
        return self.is_alive and (self.frozen_until is None or self.frozen_until <= now)

    @property
    def has_work(self) -> bool:
        """Whether an iteration would do anything."""
        return len(self.inbox) > 0 or self.loop.idle_s() == 0

    def next_due(self, now: datetime, *, chores: bool) -> datetime | None:
        """When it next has something to do, if nothing else happens; also if that is only a chore."""
        if not self.is_up(now):
            return self.frozen_until
        if not chores:
            return self.loop.next_wait()
        idle_s = self.loop.idle_s()
        return None if idle_s is None else now + timedelta(seconds=idle_s)
