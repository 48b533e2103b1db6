"""A worker: it builds the loop with its parts, and offers the methods that the engine calls."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import TypeVar

from saga_es.core.outcomes import Direction
from saga_es.definition.saga import Saga
from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.ability import Ability
from saga_es.runtime.admission import Shortage
from saga_es.runtime.batch import Committer
from saga_es.runtime.calls.away import Absence
from saga_es.runtime.calls.limits import Turn
from saga_es.runtime.calls.port import Executor
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.chores import (
    LOOK_EVERY_S,
    Beat,
    Chores,
    ForwardCommands,
    GiveUp,
    KeepSchedules,
    LookAgain,
    LookAtRemote,
    ReadNotifications,
    TakeOver,
)
from saga_es.runtime.cluster.heartbeat import Heartbeat
from saga_es.runtime.cluster.listener import Listener
from saga_es.runtime.cluster.recovery import Recovery
from saga_es.runtime.dispatch import Dispatch
from saga_es.runtime.held_calls import Timer
from saga_es.runtime.inbox import CallTimedOut, Inbox
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.intake.forwarding import Forwarding
from saga_es.runtime.limits import Limits
from saga_es.runtime.loop import Loop
from saga_es.runtime.needed_code import CodeHere
from saga_es.runtime.overdue import Overdue
from saga_es.runtime.owned import OwnedSagas
from saga_es.runtime.payloads import PayloadMemory
from saga_es.runtime.remote_handles import RemoteHandles
from saga_es.runtime.schedules import Schedules
from saga_es.runtime.tracing import PassedOn, Tracing
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import OutageWarning, retry_until
from saga_es.runtime.waiting.timers import Timers
from saga_es.store.process import Process
from saga_es.store.store import Store

T = TypeVar("T")


class Worker:
    """One worker of a process. It has no thread: the thread that calls `iterate` is its thread.

    Args:
        definitions: The sagas that it starts and takes over. A saga whose code is missing waits for another worker.
        process: The process that the workers' table names for this worker; this process if left out.
        tracing: Makes spans; if left out, none are made.

    Attributes:
        inbox: The work to be done. Any thread may put something in.
        iterate: See `Loop.iterate`.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        clock: Clock,
        definitions: Iterable[Saga],
        limits: Limits | None = None,
        process: Process | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        limits, tracing = limits or Limits(), tracing or PassedOn()
        code = CodeHere(definitions, leaves_older=limits.leaves_older_plans, drains=limits.drains)
        self.inbox = Inbox()
        self._store = store
        self._clock = clock
        store.sagas.go_by(clock.now)
        # Repeats an operation until the database answers: nothing can go on without it.
        self._retry = partial(retry_until, clock=clock, is_stopped=self._is_stopped)
        self._warn = OutageWarning(clock)
        self._timers: Timers[Timer] = Timers()
        capacity = _capacity(code.definitions.values(), limits)
        self._dispatch = Dispatch(executor, self._timers, clock, code, self.inbox.put, capacity, tracing)
        self._remote = RemoteHandles(store.sagas, self._look_soon)
        self._owned = OwnedSagas(self._dispatch, self._remote, self.inbox.put, self._warn)
        self._commands = Commands(store, clock)
        self._forwarding = Forwarding(self._commands, clock, self._is_stopped)
        self._memory = PayloadMemory(self._owned, store.sagas, self._retry, limits.payload_memory)
        self._dispatch.admission.bound(limits.payload_memory, self._owned, self._memory.used)
        committer = Committer(store, self._owned, self.inbox.put, self._retry, self._beat, tracing)
        self._chores = Chores(clock)
        self._loop = Loop(
            self.inbox, self._owned, self._dispatch, committer, self._forwarding, self._chores, self._memory
        )
        self.iterate = self._loop.iterate
        self._add_chores(committer, capacity, code, limits, process)

    def _add_chores(
        self,
        committer: Committer,
        capacity: Capacity,
        code: CodeHere,
        limits: Limits,
        process: Process | None,
    ) -> None:
        store, owned, dispatch, chores = self._store, self._owned, self._dispatch, self._chores
        ability = Ability(code)
        heartbeat = Heartbeat(store.workers, owned, self._clock, ability, process)
        plans = {name: saga.plan for name, saga in code.definitions.items()}
        recovery = Recovery(store.sagas, store.workers, plans, ability, capacity, self._warn, self._clock)
        listener = Listener(store.notifications, owned, capacity, ability if limits.takes_over else None)
        self._heartbeat = Beat(heartbeat, owned, self._warn, chores)
        self._take_over = take_over = TakeOver(recovery, owned, dispatch, committer, limits, chores, self._memory)
        chores.add(
            self._heartbeat,
            LookAgain(heartbeat, committer),
            take_over,
            ReadNotifications(listener, owned, dispatch, committer, self._warn, take_over.want),
            ForwardCommands(self._forwarding, owned, self.inbox.put, take_over.want),
            LookAtRemote(owned),
        )
        self._keeps_schedules = False
        self._gives_up = limits.takes_over and limits.missing_code_timeout_s is not None
        if limits.takes_over and limits.missing_code_timeout_s is not None:
            overdue = Overdue(store.sagas, store.workers, self._commands, code.code, limits.missing_code_timeout_s)
            chores.add(GiveUp(overdue, owned, dispatch, self._warn))

    def keep(self, schedules: Schedules) -> None:
        """Keep these schedules, once the work begins."""
        self._chores.add(KeepSchedules(schedules, self._dispatch, self._warn, self._take_over.want))
        self._keeps_schedules = True

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def worker_id(self) -> str:
        """The id of this worker, in the log and in the workers' table."""
        return self._owned.worker_id

    @worker_id.setter
    def worker_id(self, worker_id: str) -> None:
        self._owned.worker_id = worker_id

    def begin_work(self) -> None:
        """Send the first heartbeat, and schedule the chores, under a name of this process's own."""
        if self._owned.is_named_elsewhere:
            self._owned.take_name()
        self._beat()
        self._chores.schedule(TakeOver)
        self._chores.schedule(ReadNotifications)
        if self._gives_up:
            self._chores.schedule(GiveUp)
        if self._keeps_schedules:
            self._chores.schedule(KeepSchedules)

    def stop_calling(self) -> None:
        """Make no more calls. Their intents stay in the log for the next worker."""
        self._dispatch.stopped = True

    def start_over(self) -> None:
        """Drop all state and go on as a new worker: it takes over the unfinished sagas from the log."""
        self._owned.drop_all()
        self._dispatch.drop_unsent()
        for item in self._memory.take_back():
            self.inbox.put(item)
        try:
            self.leave()
        except StoreUnavailable as error:
            message = "could not delete the worker's row; its lease will run out"
            logger.warning(message, worker=self.worker_id, reason=str(error))
        self._owned.take_name()
        self.begin_work()
        self._chores.schedule(LookAtRemote)

    def leave(self) -> None:
        """Delete this worker's row, so that others can take over its unfinished sagas at once.

        Raises:
            StoreUnavailable: The database is away. The sagas are taken over when the lease has run out.
        """
        self._store.workers.leave(self.worker_id)

    def abandon(self, error: Exception) -> None:
        """Fail all waiting handles and commands."""
        self._owned.abandon(error)
        self._forwarding.abandon(error)
        self._memory.abandon(error)

    # ── Status ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def active(self) -> int:
        """How many sagas this worker owns."""
        return len(self._owned)

    @property
    def in_flight(self) -> int:
        """How many calls have not returned, those that wait for a thread included."""
        return self._dispatch.in_flight

    @property
    def idle(self) -> bool:
        """Whether no call is in flight."""
        return self._dispatch.in_flight == 0

    def idle_s(self) -> float | None:
        """Seconds until the next timer or chore is due, or a saga can be woken; None if there is none."""
        now = self._clock.now()
        times = [due for due in (self._timers.next_due(), self._chores.next_due()) if due is not None]
        due_s = max(0.0, (min(times) - now).total_seconds()) if times else None
        woken_s = self._memory.due_s(now)
        return due_s if woken_s is None else woken_s if due_s is None else min(due_s, woken_s)

    def next_wait(self) -> datetime | None:
        """When the next timer of a saga or a call is due; None if there is none. Chores are not counted."""
        return self._timers.next_due()

    def absence(self, saga_id: str, step: str) -> Absence | None:
        """Why a call of a step is held back; None if it is not. Any thread may ask."""
        return self._dispatch.absence(saga_id, step)

    def absence_for(self, definition: str) -> Absence | None:
        """For whom new sagas of a definition stay in the log; None if they do not. Any thread may ask."""
        return self._dispatch.absence_for(definition)

    def queue_of(self, saga_id: str, step: str) -> Shortage | Turn | None:
        """Where a call of a step of an owned saga waits to begin; None if none does. Any thread may ask."""
        timers = [self._timers.get((saga_id, step, direction)) for direction in Direction]
        calls = [timer.call for timer in timers if isinstance(timer, CallTimedOut)]
        return self._dispatch.admission.queue_of(calls[0]) if calls else None

    def shortage(self, definition: str, saga_id: str | None = None) -> Shortage | None:
        """Why no more sagas of a definition begin here, or why an owned saga does not go on. Any thread may ask."""
        if saga_id is None:
            return self._dispatch.admission.shortage(definition)
        return Shortage("memory", *self._memory.used()) if self._memory.makes_wait(saga_id) else None

    # ── Callbacks of the loop ────────────────────────────────────────────────────────────────────────────

    def _is_stopped(self) -> bool:
        return self._dispatch.stopped

    def _beat(self) -> None:
        self._chores.schedule(Beat, self._heartbeat.run())

    def _look_soon(self) -> None:
        self._chores.schedule_if_idle(LookAtRemote, LOOK_EVERY_S)


def _capacity(definitions: Iterable[Saga], limits: Limits) -> Capacity:
    if not limits.takes_over:  # a saga that waits might find no other worker to claim it
        return Capacity(is_bounded=False)
    of_definitions = {saga.name: saga.at_once for saga in definitions if saga.at_once is not None}
    return Capacity(limits.sagas_at_once, of_definitions)
