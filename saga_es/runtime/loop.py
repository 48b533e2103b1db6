"""The loop: one thread's work, which owns all running sagas of a process and is its only writer.

    inbox -> decide -> append (one transaction for the whole batch) -> evolve -> perform -> inbox

While one batch is being committed, facts pile up and become the next: group commit without tuning. Nothing
is performed before its intent is committed. Time, calls and storage come from outside, so that the very same
loop runs under a simulator; `Engine` gives it a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar, assert_never

import structlog

from saga_es.core.facts import CannotGoOn, Fact, OwnerGone, Start
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.errors import PayloadTooLarge, PayloadUnencodable, SagaExists, StoreUnavailable, UnreadableEvent
from saga_es.runtime.batch import Wanted, in_parts
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.cluster.heartbeat import Heartbeat
from saga_es.runtime.cluster.listener import Listener
from saga_es.runtime.cluster.recovery import Recovery
from saga_es.runtime.dispatch import Calls
from saga_es.runtime.ids import new_id
from saga_es.runtime.inbox import MOST_AT_ONCE, Append, Ask, Begin, Chore, Follow, Inbox, Item, Tell
from saga_es.runtime.intake.commands import Orders
from saga_es.runtime.intake.forwarding import Forwarding
from saga_es.runtime.owned import Runs
from saga_es.runtime.remote_handles import Followers
from saga_es.runtime.run import Proposal, Run, is_same_start
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import OutageWarning, retry_until
from saga_es.runtime.waiting.timers import Timers
from saga_es.store.log.codec import SAGA
from saga_es.store.log.log import Draft
from saga_es.store.notifications import Notifications
from saga_es.store.sagas import Sagas
from saga_es.store.workers import Process, Workers
from saga_es.store.writer import Conflict, Prepared, Receipt, Refused, Writer, Written

logger = structlog.get_logger("saga_es")

T = TypeVar("T")

LOOK_EVERY_S = 0.2
LOOK_AFTER_OURS_S = 1.0
"""How long after we counted as gone we look which sagas others took over: by then they have."""


class Loop:
    """The loop, without a thread: whoever calls `iterate` is its thread.

    Args:
        recovers: Whether to take over sagas whose worker is gone; a process that only serves participants
            does not.
        at_once: Sagas with a call out, from which on it begins no more: they stay PENDING; None: any number.
        process: Where the workers' table says it runs; in this process if left out.
    """

    def __init__(  # noqa: PLR0913 (its parts, each by name)
        self,
        *,
        writer: Writer,
        sagas: Sagas,
        workers: Workers,
        notifications: Notifications,
        executor: Executor,
        definitions: Iterable[Saga],
        clock: Clock,
        inbox: Inbox,
        recovers: bool = True,
        most_crashes: int = 5,
        at_once: int | None = None,
        process: Process | None = None,
    ) -> None:
        self._writer = writer
        self._sagas = sagas
        self._workers = workers
        self._clock = clock
        self._inbox = inbox
        self._recovers = recovers
        self._most_crashes = most_crashes
        self._timers: Timers[Item] = Timers()
        self._chores: Timers[Item] = Timers()  # apart: they do not wait for thousands that wait for one moment
        known = {saga.name: saga for saga in definitions}
        limits = {name: saga.at_once for name, saga in known.items() if saga.at_once is not None}
        self._capacity = (
            Capacity(at_once, limits) if recovers else Capacity()
        )  # nobody else may be there who would claim
        self._calls = Calls(executor, self._timers, clock, known, inbox.put, self._capacity)
        self._followers = Followers(sagas)
        self._forwarding = Forwarding(Orders(sagas, writer, clock), clock, lambda: self._calls.stopped)
        self._warn = OutageWarning(clock)
        self._runs = Runs(self._calls, self._followers, inbox.put, self._warn)
        self._heartbeat = Heartbeat(workers, self._runs, clock, process)
        self._recovery = Recovery(sagas, workers, known, self._capacity, self._warn)
        self._adopts = frozenset(known if recovers else ())
        self._listener = Listener(notifications, self._runs, self._capacity, self._adopts)
        self.worker_id = f"worker-{new_id()}"

    @property
    def active(self) -> int:
        """How many sagas this loop owns."""
        return len(self._runs)

    @property
    def idle(self) -> bool:
        """Whether no call is out."""
        return self._calls.out == 0

    def idle_s(self) -> float | None:
        """Seconds until there is something to do that is known of; None when there is none."""
        if self._forwarding:
            return 0.0
        times = [due for timers in (self._timers, self._chores) if (due := timers.next_due()) is not None]
        return max(0.0, (min(times) - self._clock.now()).total_seconds()) if times else None

    def next_wait(self) -> datetime | None:
        """When the next time comes that a saga waits for, or a call; chores apart."""
        return self._timers.next_due()

    def begin_work(self) -> None:
        """Say that this worker lives, and set the chores going."""
        self._beat()
        self._inbox.put(Chore.RECOVER)
        self._inbox.put(Chore.READ_NOTIFICATIONS)

    def stop_calling(self) -> None:
        """Perform no more intents; they stand in the log, for the next worker."""
        self._calls.stopped = True

    def start_over(self) -> None:
        """Forget everything and go on as a new worker would: by taking over, from the log, what is unfinished."""
        self._runs.drop_all()
        self._calls.drop_unsent()
        try:
            self._workers.leave(self.worker_id)
        except StoreUnavailable as error:
            logger.warning("could not leave; the lease will run out", worker=self.worker_id, reason=str(error))
        self.worker_id = f"worker-{new_id()}"
        self.begin_work()
        self._look_after()

    def leave(self) -> None:
        """Say goodbye, so that what is unfinished can be taken over at once.

        Raises:
            StoreUnavailable: The database is away; then the lease has to run out.
        """
        self._workers.leave(self.worker_id)

    def abandon(self, error: Exception) -> None:
        """Tell all who wait that they wait in vain."""
        self._runs.abandon(error)
        self._forwarding.abandon(error)

    # ── inbox -> decide ──────────────────────────────────────────────────────────────────────────────────

    def iterate(self, items: Iterable[Item]) -> int:  # noqa: C901, PLR0912 (a table: one case an item)
        """One round: everything that came in and the timers that are due, as one batch.

        Returns:
            How many items the inbox holds once all calls that went out have come back, but no more than one batch
            takes; 0 when none went out.

        Raises:
            StoreUnavailable: The database is away and the clock was woken to stop; the batch is not settled.
        """
        now = self._clock.now()
        proposals: dict[str, Proposal] = {}
        appends: dict[str, Append] = {}
        for item in [*items, *self._calls.due(now, MOST_AT_ONCE), *self._chores.due(now)]:
            match item:
                case Tell(saga_id, fact):
                    self._tell(saga_id, fact, proposals, now)
                case Begin():
                    self._begin(item, proposals, now)
                case Ask():
                    self._ask(item, proposals, now)
                case Append(stream_id=stream_id):
                    if appends.setdefault(stream_id, item) is not item:
                        self._inbox.put(item)  # a batch holds one draft a stream: this one's turn is the next
                case Follow(handle):
                    self._runs.follow(handle)
                    self._look_again()
                case Chore.RECOVER:
                    self._recover(proposals, now)
                case Chore.READ_NOTIFICATIONS:
                    self._read_notifications(proposals)
                case Chore.BEAT:
                    self._beat()
                case Chore.LOOK_AFTER_OURS:
                    self._look_after_ours(proposals)
                case Chore.LOOK_AFTER_FOLLOWED:
                    self._look_after()
                case Chore.STOP:
                    self.stop_calling()
                case _:
                    assert_never(item)
        self._commit(list(proposals.values()), list(appends.values()), now)
        if self._capacity.end_batch():
            self._later(Chore.RECOVER, 0.0)
        waiting = len(self._inbox)  # before they go out: they may be back sooner than we can look
        calls = self._calls.send()
        if self._forwarding.run(self._runs, self._inbox.put):
            self._later(Chore.RECOVER, 0.0)  # a saga that had ended is nobody's now
        return min(waiting + calls, MOST_AT_ONCE) if calls else 0

    def _tell(self, saga_id: str, fact: Fact, proposals: dict[str, Proposal], now: datetime) -> None:
        run = self._runs.get(saga_id)
        if run is not None:  # otherwise it ended meanwhile, or is no longer ours
            _proposal(proposals, run).add(fact, now)

    def _begin(self, begin: Begin, proposals: dict[str, Proposal], now: datetime) -> None:
        run = self._runs.get(begin.saga_id)
        if run is not None:
            self._runs.join(run, _proposal(proposals, run).state, begin)
            return
        run = self._runs.add(SagaState(begin.saga_id, begin.definition.plan), begin.handle)
        name = begin.definition.name
        waits = begin.starts_at is None and name in self._adopts and not self._capacity.reserve(name)
        worker = None if waits else self.worker_id
        start = Start(begin.definition.plan_id, begin.input, worker, begin.tags, begin.starts_at, begin.parent)
        _proposal(proposals, run).add(start, now)

    def _ask(self, ask: Ask, proposals: dict[str, Proposal], now: datetime) -> None:
        run = self._runs.get(ask.saga_id)
        try:
            if run is None:
                self._forwarding.add(ask)
            elif (proposal := _proposal(proposals, run)).state.status.ended:
                self._inbox.put(ask)  # once its end is in the log it is nobody's, and then it is asked
            else:
                proposal.order(ask, now)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with an order, only its giver is told)
            ask.settle(error)

    # ── decide -> append -> evolve -> perform ────────────────────────────────────────────────────────────

    def _commit(self, proposals: list[Proposal], appends: list[Append], now: datetime) -> None:
        for number, part in enumerate(in_parts(self._drafts(proposals, appends, now))):
            if number:
                self._beat()
            receipts = self._retry(partial(self._writer.write, [prepared for _, prepared in part]))
            for (settle, _), receipt in zip(part, receipts, strict=True):
                settle(receipt)

    def _drafts(self, proposals: list[Proposal], appends: list[Append], now: datetime) -> Iterable[Wanted]:
        for proposal in proposals:
            if prepared := self._prepared(proposal, now):
                yield partial(self._settle, proposal), prepared
        yield from ((append.settle, append.prepared) for append in appends)

    def _prepared(self, proposal: Proposal, now: datetime) -> Prepared | None:
        base = proposal.base
        if not proposal.events:
            proposal.settle_asks()
            return None
        try:
            notifies = proposal.state.owner is None  # it waits for whoever has capacity
            return self._writer.prepare(Draft(base.saga_id, SAGA, base.version, tuple(proposal.events), now, notifies))
        except (PayloadTooLarge, PayloadUnencodable) as error:
            self._refused(proposal, str(error))
            return None

    def _settle(self, proposal: Proposal, receipt: Receipt) -> None:
        match receipt:
            case Written() if proposal.state.owner is None:
                self._runs.release(proposal.run)
                proposal.settle_asks()
                self._look_again()
            case Written():
                # Of a saga taken over, all that is open has to be done again, not just what was decided now.
                taken_over = isinstance(proposal.first, OwnerGone)
                self._runs.advance(proposal.run, proposal.state, None if taken_over else proposal.events)
                proposal.settle_asks()
            case Conflict():
                self._overtaken(proposal)
            case Refused(reason):
                self._refused(proposal, reason)
            case _:
                assert_never(receipt)

    def _overtaken(self, proposal: Proposal) -> None:
        """Somebody else appended to the saga's stream: what they wrote decides whose it is now."""
        saga_id = proposal.base.saga_id
        self._catch_up(proposal, self._retry(lambda: self._sagas.find_many([saga_id])).get(saga_id))
        self._look_again()

    def _catch_up(self, proposal: Proposal, state: SagaState | UnreadableEvent | None) -> None:
        """Decide again what was proposed, on what stands in the log; or leave it, if the saga is not ours any more."""
        run, saga_id = proposal.run, proposal.base.saga_id
        match proposal.first, state:
            case Start(input=input_), SagaState() if not is_same_start(state, run.state.plan.saga, input_):
                self._runs.fail(run, SagaExists(saga_id))
            case _:
                pass
        if self._runs.catch_up(run, state, self.worker_id):
            self._tell_again(proposal)
        self._ask_again(proposal)

    def _catch_up_all(self, runs: Sequence[Run], proposals: dict[str, Proposal]) -> None:
        found = self._retry(lambda: self._sagas.find_many([run.state.saga_id for run in runs])) if runs else {}
        for run in runs:
            outdated = proposals.pop(run.state.saga_id, Proposal(run))
            self._catch_up(outdated, found.get(run.state.saga_id))
        self._look_again()

    def _ask_again(self, proposal: Proposal) -> None:
        for ask in proposal.asks:
            self._inbox.put(ask)

    def _tell_again(self, proposal: Proposal) -> None:
        for fact in proposal.facts:
            self._inbox.put(Tell(proposal.base.saga_id, fact))

    def _refused(self, proposal: Proposal, reason: str) -> None:
        run, saga_id = proposal.run, proposal.base.saga_id
        if proposal.asks:  # what somebody sent must not be the end of the saga: the rest is tried without it
            proposal.refuse_asks(PayloadUnencodable(f"the database does not take this order: {reason}"))
            self._tell_again(proposal)
        elif run.state.version == 0:  # nothing of it stands in the log: it never was
            self._runs.fail(run, self._retry(lambda: self._sagas.refused_start(saga_id, reason)))
            self._runs.drop(run)
        elif any(isinstance(fact, CannotGoOn) for fact in proposal.facts):
            logger.error("not even the failure of a saga could be recorded", saga_id=saga_id, reason=reason)
            self._runs.drop(run)
        else:
            self._inbox.put(Tell(saga_id, CannotGoOn(f"an event could not be recorded: {reason}")))

    def _retry(self, ask: Callable[[], T]) -> T:
        """Ask the database until it answers: nothing can go on without it."""
        return retry_until(ask, self._clock, lambda: self._calls.stopped)

    # ── Chores ───────────────────────────────────────────────────────────────────────────────────────────

    def _beat(self) -> None:
        try:
            if self._heartbeat.beat(self.worker_id):
                self._later(Chore.LOOK_AFTER_OURS, LOOK_AFTER_OURS_S)
        except StoreUnavailable as error:
            self._warn("a heartbeat", error)
        self._later(Chore.BEAT, self._heartbeat.pause_s)

    def _look_after_ours(self, proposals: dict[str, Proposal]) -> None:
        """See what others did to our sagas while we counted as gone."""
        self._catch_up_all(self._heartbeat.unseen(), proposals)
        if not self._heartbeat.has_seen_all:
            self._later(Chore.LOOK_AFTER_OURS, 0.0)

    def _look_after(self) -> None:
        self._runs.look_after()
        self._look_again()

    def _look_again(self) -> None:
        if self._followers and Chore.LOOK_AFTER_FOLLOWED not in self._chores:  # never put off by those who come later
            self._later(Chore.LOOK_AFTER_FOLLOWED, LOOK_EVERY_S)

    def _recover(self, proposals: dict[str, Proposal], now: datetime) -> None:
        """Propose to take over what has no living owner; the log decides whether we are the one who does."""
        if not self._recovers or self._calls.stopped:
            return
        states, every_s = self._recovery.interrupted(self.worker_id, self._runs.state, self._calls.capacity, now)
        for state in states:
            if outdated := proposals.pop(state.saga_id, None):  # decided for a saga that is not ours any more
                self._ask_again(outdated)
            _proposal(proposals, self._runs.add(state)).add(OwnerGone(self.worker_id, self._most_crashes), now)
        self._later(Chore.RECOVER, every_s)

    def _read_notifications(self, proposals: dict[str, Proposal]) -> None:
        """See what others appended to sagas of ours, or to sagas that nobody owns."""
        if self._calls.stopped:
            return
        try:
            self._catch_up_all(self._listener.listen(self.worker_id), proposals)
            if self._listener.acknowledge():
                self._later(Chore.RECOVER, 0.0)
        except StoreUnavailable as error:
            self._warn("a look for orders", error)
        self._later(Chore.READ_NOTIFICATIONS, self._listener.pause_s(is_busy=self._calls.out > 0))

    def _later(self, chore: Chore, wait_s: float) -> None:
        self._chores.set(chore, self._clock.now() + timedelta(seconds=wait_s), chore)


def _proposal(proposals: dict[str, Proposal], run: Run) -> Proposal:
    """What this batch proposes for a saga, begun if need be."""
    saga_id = run.state.saga_id
    if saga_id not in proposals:
        proposals[saga_id] = Proposal(run)
    return proposals[saga_id]
