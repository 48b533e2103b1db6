"""Chores: the periodic work of a worker, independent of its sagas. Each chore says when it is to run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from saga_es.core.facts import OwnerGone
from saga_es.errors import StoreUnavailable
from saga_es.runtime.batch import Batch, Committer
from saga_es.runtime.cluster.heartbeat import Heartbeat
from saga_es.runtime.cluster.listener import Listener
from saga_es.runtime.cluster.recovery import Recovery
from saga_es.runtime.dispatch import Dispatch
from saga_es.runtime.inbox import Put
from saga_es.runtime.intake.forwarding import Forwarding
from saga_es.runtime.limits import Limits
from saga_es.runtime.overdue import Overdue
from saga_es.runtime.owned import OwnedSagas
from saga_es.runtime.payloads import PayloadMemory
from saga_es.runtime.schedules import Schedules
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import OutageWarning
from saga_es.runtime.waiting.timers import Timers

LOOK_EVERY_S = 0.2
"""How often the worker looks at sagas of other workers, while a handle here waits for their end."""

LOOK_AGAIN_AFTER_S = 1.0
"""How long after it counted as gone a worker reads its sagas again: by then, other workers have taken them over."""


class Chore(Protocol):
    """Periodic work. It may propose events in the batch of the iteration in which it runs."""

    def run(self, batch: Batch) -> float | None:
        """Do the work.

        Returns:
            The seconds until the chore is to run again; None: not before it is scheduled.
        """
        ...


class Chores:
    """The chores of a worker, each with the time of its next run. Thousands of due timers do not delay them.

    Attributes:
        now: Reads the chores' clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: dict[type[Chore], Chore] = {}
        self._timers: Timers[Chore] = Timers()
        self.now = clock.now

    def add(self, *chores: Chore) -> None:
        """Add chores, at most one of each class. A chore runs once it is scheduled."""
        self._all |= {type(chore): chore for chore in chores}

    def schedule(self, kind: type[Chore], after_s: float = 0.0) -> None:
        """Run a chore after so many seconds. This replaces the time that was set before."""
        self._timers.set(kind, self._clock.now() + timedelta(seconds=after_s), self._all[kind])

    def schedule_if_idle(self, kind: type[Chore], after_s: float = 0.0) -> None:
        """Run a chore after so many seconds, unless it is scheduled already: then its time stays."""
        if kind not in self._timers:
            self.schedule(kind, after_s)

    def run(self, batch: Batch) -> None:
        """Run the chores that are due."""
        for chore in self._timers.due(batch.now):
            after_s = chore.run(batch)
            if after_s is not None:
                self.schedule(type(chore), after_s)

    def next_due(self) -> datetime | None:
        """When the next chore is due; None if none is scheduled."""
        return self._timers.next_due()


class Beat:
    """Records that this worker is alive. If it had counted as gone, it schedules another look at its sagas."""

    def __init__(self, heartbeat: Heartbeat, owned: OwnedSagas, warn: OutageWarning, chores: Chores) -> None:
        self._heartbeat = heartbeat
        self._owned = owned
        self._warn = warn
        self._chores = chores

    def run(self, batch: Batch | None = None) -> float:
        """Send a heartbeat; returns the seconds until the next."""
        del batch
        try:
            if self._heartbeat.beat(self._owned.worker_id):
                self._chores.schedule(LookAgain, LOOK_AGAIN_AFTER_S)
        except StoreUnavailable as error:
            self._warn("a heartbeat", error)
        return self._heartbeat.pause_s


class LookAgain:
    """Reads what others appended to this worker's sagas while it counted as gone, some sagas at a time."""

    def __init__(self, heartbeat: Heartbeat, committer: Committer) -> None:
        self._heartbeat = heartbeat
        self._committer = committer

    def run(self, batch: Batch) -> float | None:
        """Read some sagas; run again at once while there are more."""
        self._committer.catch_up(self._heartbeat.unseen(), batch)
        return None if self._heartbeat.has_seen_all else 0.0


class TakeOver:
    """Proposes to take over sagas without a living owner. The log decides whether this worker gets them."""

    def __init__(
        self,
        recovery: Recovery,
        owned: OwnedSagas,
        dispatch: Dispatch,
        committer: Committer,
        limits: Limits,
        chores: Chores,
        memory: PayloadMemory,
    ) -> None:
        self._recovery = recovery
        self._owned = owned
        self._dispatch = dispatch
        self._committer = committer
        self._limits = limits
        self._chores = chores
        self._memory = memory

    def run(self, batch: Batch) -> float | None:
        """Propose the takeover of as many sagas as there is capacity for."""
        if not self._limits.takes_over or self._dispatch.stopped:
            return None
        worker_id = self._owned.worker_id
        if self._recovery.is_behind:
            self._recovery.wanted.add_awaited(self._owned.awaited())
        states, again_s = self._recovery.interrupted(
            worker_id,
            self._owned.state,
            self._dispatch.admission.capacity_of,
            batch.now,
            self._memory.available(batch.now),
        )
        for state in states:
            if outdated := batch.withdraw(state.saga_id):  # it was decided before the saga lost its owner
                self._committer.put_back(outdated)
            takeover = OwnerGone(worker_id, self._limits.most_crashes)
            batch.proposal(self._owned.add(state)).add(takeover, batch.now)
        return again_s

    def want(self, saga_ids: Iterable[str]) -> None:
        """Take these sagas over before others, if they are orphans: somebody sent them something."""
        self._recovery.wanted.add(saga_ids)
        self._chores.schedule(TakeOver)


class ReadNotifications:
    """Reads what others appended to this worker's sagas, and looks for sagas that wait and have no owner."""

    def __init__(
        self,
        listener: Listener,
        owned: OwnedSagas,
        dispatch: Dispatch,
        committer: Committer,
        warn: OutageWarning,
        want: Callable[[Iterable[str]], None],
    ) -> None:
        self._listener = listener
        self._owned = owned
        self._dispatch = dispatch
        self._committer = committer
        self._warn = warn
        self._want = want

    def run(self, batch: Batch) -> float | None:
        """Read the notifications, catch up with the sagas they name, then acknowledge them."""
        if self._dispatch.stopped:
            return None
        try:
            self._committer.catch_up(self._listener.listen(self._owned.worker_id), batch)
            if wanted := self._listener.acknowledge():
                self._want(wanted)
        except StoreUnavailable as error:
            self._warn("a look for commands", error)
        return self._listener.pause_s(is_busy=self._dispatch.in_flight > 0)


class ForwardCommands:
    """Records commands for sagas that this worker does not own."""

    def __init__(
        self, forwarding: Forwarding, owned: OwnedSagas, put: Put, want: Callable[[Iterable[str]], None]
    ) -> None:
        self._forwarding = forwarding
        self._owned = owned
        self._put = put
        self._want = want

    def run(self, batch: Batch) -> float | None:
        """Record some commands; run again at once while there are more."""
        del batch
        if sent := self._forwarding.run(self._owned, self._put):
            self._want(sent)  # some may be orphans; a command may also have reopened a saga that had ended
        return 0.0 if self._forwarding else None


class GiveUp:
    """Gives up sagas that have waited too long for code that no living worker has."""

    def __init__(self, overdue: Overdue, owned: OwnedSagas, dispatch: Dispatch, warn: OutageWarning) -> None:
        self._overdue = overdue
        self._owned = owned
        self._dispatch = dispatch
        self._warn = warn

    def run(self, batch: Batch) -> float | None:
        """Look at some of them; run again soon while there are more."""
        if self._dispatch.stopped:
            return None
        try:
            return self._overdue.give_up(self._owned.worker_id, batch.now)
        except StoreUnavailable as error:
            self._warn("a look for sagas without code", error)
            return LOOK_AGAIN_AFTER_S


class LookAtRemote:
    """Looks whether sagas of other workers have ended, for the handles here that wait for them."""

    def __init__(self, owned: OwnedSagas) -> None:
        self._owned = owned

    def run(self, batch: Batch) -> float | None:
        """Look at them; run again after a while if a handle still waits."""
        del batch
        self._owned.look_after()
        return LOOK_EVERY_S if self._owned.follows_remote else None


class KeepSchedules:
    """Starts the sagas whose time has come. The log decides which worker does."""

    def __init__(
        self,
        schedules: Schedules,
        dispatch: Dispatch,
        warn: OutageWarning,
        want: Callable[[Iterable[str]], None],
    ) -> None:
        self._schedules = schedules
        self._dispatch = dispatch
        self._warn = warn
        self._want = want

    def run(self, batch: Batch) -> float | None:
        """Start them; run again when the next time comes."""
        if self._dispatch.stopped:
            return None
        try:
            if started := self._schedules.keep(batch.now):
                self._want(started)
        except StoreUnavailable as error:
            self._warn("a look at the schedules", error)
            return LOOK_AGAIN_AFTER_S
        return self._schedules.next_in_s(batch.now)
