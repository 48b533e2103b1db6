"""A worker: the loop with all that stands around it, and what the engine asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

import structlog

from saga_es.definition.saga import Saga
from saga_es.errors import StoreUnavailable
from saga_es.runtime.batch import Committer
from saga_es.runtime.calls.port import Executor
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.chores import (
    LOOK_EVERY_S,
    Beat,
    Chores,
    ForwardCommands,
    LookAgain,
    LookAtRemote,
    ReadNotifications,
    TakeOver,
)
from saga_es.runtime.cluster.heartbeat import Heartbeat
from saga_es.runtime.cluster.listener import Listener
from saga_es.runtime.cluster.recovery import Recovery
from saga_es.runtime.dispatch import Dispatch
from saga_es.runtime.ids import new_id
from saga_es.runtime.inbox import Inbox, Item
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.intake.forwarding import Forwarding
from saga_es.runtime.limits import Limits
from saga_es.runtime.loop import Loop
from saga_es.runtime.owned import OwnedSagas
from saga_es.runtime.remote_handles import RemoteHandles
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import OutageWarning, retry_until
from saga_es.runtime.waiting.timers import Timers
from saga_es.store.process import Process
from saga_es.store.store import Store

logger = structlog.get_logger("saga_es")

T = TypeVar("T")


class Worker:
    """One worker of a process; without a thread: the thread that calls `iterate` is its thread.

    Args:
        definitions: The sagas that it starts and takes over; a running saga whose code is missing ends FAILED.
        process: Where the workers' table says it runs; in this process if left out.

    Attributes:
        inbox: What is to be done; any thread may put something in.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        clock: Clock,
        definitions: Iterable[Saga],
        limits: Limits | None = None,
        process: Process | None = None,
    ) -> None:
        limits = limits or Limits()
        known = {saga.name: saga for saga in definitions}
        self.inbox = Inbox()
        self._store = store
        self._clock = clock
        self._warn = OutageWarning(clock)
        self._timers: Timers[Item] = Timers()
        capacity = _capacity(known.values(), limits)
        self._dispatch = Dispatch(executor, self._timers, clock, known, self.inbox.put, capacity)
        self._remote = RemoteHandles(store.sagas, self._look_soon)
        self._owned = OwnedSagas(self._dispatch, self._remote, self.inbox.put, self._warn)
        self._forwarding = Forwarding(Commands(store, clock), clock, lambda: self._dispatch.stopped)
        committer = Committer(store, self._owned, self.inbox.put, self._retry, self._beat)
        self._chores = Chores(clock)
        self._loop = Loop(self.inbox, self._owned, self._dispatch, committer, self._forwarding, self._chores)
        self._add_chores(committer, capacity, known, limits, process)

    def _add_chores(
        self,
        committer: Committer,
        capacity: Capacity,
        known: dict[str, Saga],
        limits: Limits,
        process: Process | None,
    ) -> None:
        store, owned, dispatch, chores = self._store, self._owned, self._dispatch, self._chores
        heartbeat = Heartbeat(store.workers, owned, self._clock, process)
        recovery = Recovery(store.sagas, store.workers, known, capacity, self._warn)
        listener = Listener(store.notifications, owned, capacity, known if limits.takes_over else ())
        self._heartbeat = Beat(heartbeat, owned, self._warn, chores)
        chores.add(
            self._heartbeat,
            LookAgain(heartbeat, committer),
            TakeOver(recovery, owned, dispatch, committer, limits),
            ReadNotifications(listener, owned, dispatch, committer, self._warn, chores),
            ForwardCommands(self._forwarding, owned, self.inbox.put, chores),
            LookAtRemote(owned),
        )

    def iterate(self, items: Iterable[Item]) -> int:
        """See `Loop.iterate`."""
        return self._loop.iterate(items)

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def worker_id(self) -> str:
        """Who this worker is, in the log and among the workers."""
        return self._owned.worker_id

    @worker_id.setter
    def worker_id(self, worker_id: str) -> None:
        self._owned.worker_id = worker_id

    def begin_work(self) -> None:
        """Say that this worker lives, and set the chores going."""
        self._beat()
        self._chores.schedule(TakeOver)
        self._chores.schedule(ReadNotifications)

    def stop_calling(self) -> None:
        """Perform no more intents; they stand in the log, for the next worker."""
        self._dispatch.stopped = True

    def start_over(self) -> None:
        """Forget everything and go on as a new worker would: by taking over, from the log, what is unfinished."""
        self._owned.drop_all()
        self._dispatch.drop_unsent()
        try:
            self.leave()
        except StoreUnavailable as error:
            logger.warning("could not leave; the lease will run out", worker=self.worker_id, reason=str(error))
        self.worker_id = f"worker-{new_id()}"
        self.begin_work()
        self._chores.schedule(LookAtRemote)

    def leave(self) -> None:
        """Say goodbye, so that what is unfinished can be taken over at once.

        Raises:
            StoreUnavailable: The database is away; then the lease has to run out.
        """
        self._store.workers.leave(self.worker_id)

    def abandon(self, error: Exception) -> None:
        """Tell all who wait that they wait in vain."""
        self._owned.abandon(error)
        self._forwarding.abandon(error)

    # ── What it is at ────────────────────────────────────────────────────────────────────────────────────

    @property
    def active(self) -> int:
        """How many sagas this worker owns."""
        return len(self._owned)

    @property
    def idle(self) -> bool:
        """Whether no call is in flight."""
        return self._dispatch.in_flight == 0

    def idle_s(self) -> float | None:
        """Seconds until there is something to do that is known of; None when there is none."""
        times = [due for due in (self._timers.next_due(), self._chores.next_due()) if due is not None]
        return max(0.0, (min(times) - self._clock.now()).total_seconds()) if times else None

    def next_wait(self) -> datetime | None:
        """When the next time comes that a saga waits for, or a call; chores apart."""
        return self._timers.next_due()

    # ── What the loop asks for ───────────────────────────────────────────────────────────────────────────

    def _retry(self, ask: Callable[[], T]) -> T:
        """Ask the database until it answers: nothing can go on without it."""
        return retry_until(ask, self._clock, lambda: self._dispatch.stopped)

    def _beat(self) -> None:
        self._chores.schedule(Beat, self._heartbeat.run())

    def _look_soon(self) -> None:
        self._chores.schedule_if_idle(LookAtRemote, LOOK_EVERY_S)


def _capacity(definitions: Iterable[Saga], limits: Limits) -> Capacity:
    if not limits.takes_over:  # nobody else may be there who would claim what waits
        return Capacity()
    of_definitions = {saga.name: saga.at_once for saga in definitions if saga.at_once is not None}
    return Capacity(limits.sagas_at_once, of_definitions)
