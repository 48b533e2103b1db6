"""The loop: one thread's work, which owns all running sagas of a process and is its only writer.

    inbox -> decide -> append (one transaction for the whole batch) -> evolve -> perform -> inbox

While one batch is being committed, facts pile up and become the next: group commit without tuning. Nothing
is performed before its intent is committed. Time, calls and storage come from outside, so that the very same
loop runs under a simulator; `Engine` gives it a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar, assert_never

import structlog

from saga_es.core.events import SagaEvent
from saga_es.core.facts import CannotGoOn, Fact, OwnerGone, Start
from saga_es.core.state import SagaState, open_intents
from saga_es.definition import Saga
from saga_es.errors import PayloadTooLarge, PayloadUnencodable, SagaExists, StoreUnavailable
from saga_es.runtime.calls import Calls
from saga_es.runtime.clock import Clock
from saga_es.runtime.executor import Executor
from saga_es.runtime.followers import Followers
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.ids import new_id
from saga_es.runtime.inbox import Append, Begin, Chore, Follow, Inbox, Item, Tell
from saga_es.runtime.recovery import Recovery
from saga_es.runtime.run import Proposal, Run, is_same_start
from saga_es.runtime.timers import Timers
from saga_es.store.codec import SAGA
from saga_es.store.log import Draft
from saga_es.store.sagas import Sagas
from saga_es.store.workers import Process, Workers
from saga_es.store.writer import Conflict, Prepared, Receipt, Refused, Writer, Written

logger = structlog.get_logger("saga_es")

T = TypeVar("T")

LOOK_EVERY_S = 0.2
LONGEST_WAIT_FOR_STORE_S = 2.0


class Loop:
    """The loop, without a thread: whoever calls `turn` is its thread.

    Args:
        recovers: Whether to take over sagas whose worker is gone; a process that only serves participants
            does not.
    """

    def __init__(
        self,
        *,
        writer: Writer,
        sagas: Sagas,
        workers: Workers,
        executor: Executor,
        definitions: Iterable[Saga],
        clock: Clock,
        inbox: Inbox,
        recovers: bool = True,
    ) -> None:
        self._writer = writer
        self._sagas = sagas
        self._workers = workers
        self._clock = clock
        self._inbox = inbox
        self._recovers = recovers
        self._timers: Timers[Item] = Timers()
        self._definitions = {saga.name: saga for saga in definitions}
        self._calls = Calls(executor, self._timers, clock, self._definitions, inbox.put)
        self._followers = Followers(sagas)
        self._runs: dict[str, Run] = {}
        self._process = Process.this()
        self._recovery = Recovery(sagas, workers, self._definitions)
        self.worker_id = f"worker-{new_id()}"

    @property
    def active(self) -> int:
        """How many sagas this loop owns."""
        return len(self._runs)

    @property
    def idle(self) -> bool:
        """Whether no call is out."""
        return self._calls.out == 0

    def patience_s(self) -> float | None:
        """Seconds until the next timer is due; None when there is none."""
        due = self._timers.next_due()
        return None if due is None else max(0.0, (due - self._clock.now()).total_seconds())

    def begin_work(self) -> None:
        """Say that this worker lives, and set the chores going."""
        self._beat()
        self._inbox.put(Chore.RECOVER)

    def stop_calling(self) -> None:
        """Perform no more intents; they stand in the log, for the next worker."""
        self._calls.stopped = True

    def start_over(self) -> None:
        """Forget everything and go on as a new worker would: by taking over, from the log, what is unfinished."""
        for run in list(self._runs.values()):
            self._drop(run)
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
        for run in self._runs.values():
            self._followers.add(*run.handles)
        self._followers.fail_all(error)

    # ── inbox -> decide ──────────────────────────────────────────────────────────────────────────────────

    def turn(self, items: Iterable[Item]) -> None:  # noqa: C901 (a table: one case an item)
        """One round: everything that came in and every timer that is due, as one batch.

        Raises:
            StoreUnavailable: The database is away and the clock was woken to stop; the batch is not settled.
        """
        now = self._clock.now()
        proposals: dict[str, Proposal] = {}
        appends: dict[str, Append] = {}
        for item in [*items, *self._timers.due(now)]:
            match item:
                case Tell(saga_id, fact):
                    self._tell(saga_id, fact, proposals, now)
                case Begin():
                    self._begin(item, proposals, now)
                case Append(stream_id=stream_id):
                    if appends.setdefault(stream_id, item) is not item:
                        self._inbox.put(item)  # a batch holds one draft a stream: this one's turn is the next
                case Follow(handle):
                    self._follow(handle)
                case Chore.RECOVER:
                    self._recover(proposals, now)
                case Chore.BEAT:
                    self._beat()
                case Chore.LOOK_AFTER_FOLLOWED:
                    self._look_after()
                case Chore.STOP:
                    self.stop_calling()
                case _:
                    assert_never(item)
        self._commit([p for p in proposals.values() if p.events], list(appends.values()), now)

    def _tell(self, saga_id: str, fact: Fact, proposals: dict[str, Proposal], now: datetime) -> None:
        run = self._runs.get(saga_id)
        if run is None:
            return  # it ended meanwhile, or is no longer ours
        if saga_id not in proposals:
            proposals[saga_id] = Proposal(run)
        proposals[saga_id].add(fact, now)

    def _begin(self, begin: Begin, proposals: dict[str, Proposal], now: datetime) -> None:
        run = self._runs.get(begin.saga_id)
        if run is not None:
            proposed = proposals.get(begin.saga_id)
            self._join(run, proposed.state if proposed else run.state, begin)
            return
        run = self._runs[begin.saga_id] = Run(SagaState(begin.saga_id, begin.definition.plan), [begin.handle])
        proposals[begin.saga_id] = Proposal(run)
        proposals[begin.saga_id].add(Start(begin.definition.plan_id, begin.input, self.worker_id), now)

    def _join(self, run: Run, state: SagaState, begin: Begin) -> None:
        if not is_same_start(state, begin.definition.name, begin.input):
            begin.handle.mark_failed(SagaExists(begin.saga_id))
            return
        self._attach(run, begin.handle)

    def _attach(self, run: Run, handle: Handle) -> None:
        run.handles.append(handle)
        if run.state.version:
            handle.mark_started()

    def _follow(self, handle: Handle) -> None:
        run = self._runs.get(handle.saga_id)
        if run is not None:
            self._attach(run, handle)
            return
        self._followers.add(handle)
        self._look_after([handle.saga_id])

    # ── decide -> append -> evolve -> perform ────────────────────────────────────────────────────────────

    def _commit(self, proposals: list[Proposal], appends: list[Append], now: datetime) -> None:
        drafts = [(proposal, prepared) for proposal in proposals if (prepared := self._prepared(proposal, now))]
        batch = [*(prepared for _, prepared in drafts), *(append.prepared for append in appends)]
        if not batch:
            return
        receipts = self._patiently(lambda: self._writer.write(batch))
        for (proposal, _), receipt in zip(drafts, receipts, strict=False):
            self._settle(proposal, receipt)
        for append, receipt in zip(appends, receipts[len(drafts) :], strict=True):
            append.settle(receipt)

    def _prepared(self, proposal: Proposal, now: datetime) -> Prepared | None:
        run = proposal.run
        try:
            return self._writer.prepare(Draft(run.state.saga_id, SAGA, run.state.version, tuple(proposal.events), now))
        except (PayloadTooLarge, PayloadUnencodable) as error:
            self._refused(proposal, str(error))
            return None

    def _settle(self, proposal: Proposal, receipt: Receipt) -> None:
        match receipt:
            case Written():
                self._written(proposal)
            case Conflict():
                self._overtaken(proposal)
            case Refused(reason):
                self._refused(proposal, reason)
            case _:
                assert_never(receipt)

    def _written(self, proposal: Proposal) -> None:
        run = proposal.run
        is_first = run.state.version == 0
        run.state = proposal.state
        if is_first:
            for handle in run.handles:
                handle.mark_started()
        # Of a saga taken over, all that is open has to be done again, not just what was decided now.
        taken_over = isinstance(proposal.facts[0], OwnerGone)
        self._perform(run.state, open_intents(run.state) if taken_over else proposal.events)
        if run.state.status.ended:
            del self._runs[run.state.saga_id]
            self._calls.forget(run.state)
            for handle in run.handles:
                handle.mark_ended(SagaResult.of(run.state))

    def _perform(self, state: SagaState, events: Iterable[SagaEvent]) -> None:
        try:
            self._calls.perform(state, events)
        except Exception as error:
            logger.exception("performing failed", saga_id=state.saga_id)
            reason = f"a call could not be made: {type(error).__name__}: {error}"
            self._inbox.put(Tell(state.saga_id, CannotGoOn(reason)))

    def _overtaken(self, proposal: Proposal) -> None:
        """Somebody else appended to the saga's stream: what they wrote decides whose it is now."""
        run = proposal.run
        found = self._patiently(lambda: self._sagas.find_many([run.state.saga_id]))
        state = found.get(run.state.saga_id)
        start = proposal.facts[0]
        if isinstance(state, SagaState) and state.owner == self.worker_id and not state.status.ended:
            run.state = state
            for fact in proposal.facts:
                self._inbox.put(Tell(state.saga_id, fact))
            return
        match start, state:
            case Start(input=input_), SagaState() if not is_same_start(state, run.state.plan.saga, input_):
                for handle in run.handles:
                    handle.mark_failed(SagaExists(run.state.saga_id))
                run.handles.clear()
            case _:
                pass
        self._drop(run)
        self._look_after([run.state.saga_id])

    def _refused(self, proposal: Proposal, reason: str) -> None:
        run = proposal.run
        saga_id = run.state.saga_id
        if run.state.version == 0:  # nothing of it stands in the log: it never was
            del self._runs[saga_id]
            for handle in run.handles:
                handle.mark_failed(PayloadUnencodable(f"the database does not take this start: {reason}"))
        elif any(isinstance(fact, CannotGoOn) for fact in proposal.facts):
            logger.error("not even the failure of a saga could be recorded", saga_id=saga_id, reason=reason)
            self._drop(run)
        else:
            self._inbox.put(Tell(saga_id, CannotGoOn(f"an event could not be recorded: {reason}")))

    def _drop(self, run: Run) -> None:
        """The saga is no longer ours; those who wait for its end follow it from afar."""
        self._runs.pop(run.state.saga_id, None)
        self._calls.forget(run.state)
        self._followers.add(*run.handles)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask the database until it answers: nothing can go on without it."""
        wait_s = 0.05
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                if self._calls.stopped:
                    raise
                logger.warning("the database is away, trying again", reason=str(error), wait_s=wait_s)
            self._clock.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_FOR_STORE_S)

    # ── Chores ───────────────────────────────────────────────────────────────────────────────────────────

    def _beat(self) -> None:
        try:
            self._workers.beat(self.worker_id, self._process)
        except StoreUnavailable as error:
            logger.warning("a heartbeat is put off, the database is away", reason=str(error))
        self._later(Chore.BEAT, self._workers.lease_s / 4)

    def _look_after(self, saga_ids: Sequence[str] | None = None) -> None:
        """Look whether sagas that run elsewhere have ended: these, or all that are followed."""
        try:
            self._followers.look(saga_ids)
        except StoreUnavailable as error:
            logger.warning("a look at other workers' sagas is put off, the database is away", reason=str(error))
        if self._followers:
            self._later(Chore.LOOK_AFTER_FOLLOWED, LOOK_EVERY_S)

    def _recover(self, proposals: dict[str, Proposal], now: datetime) -> None:
        """Propose to take over what has no living owner; the log decides whether we are the one who does."""
        if not self._recovers or self._calls.stopped:
            return
        owners = {saga_id: run.state.owner for saga_id, run in self._runs.items()}
        states, every_s = self._recovery.interrupted(owners)
        for state in states:
            if state.saga_id in self._runs:  # it was taken from us while we slept, and we have not noticed yet
                self._drop(self._runs[state.saga_id])
            run = self._runs[state.saga_id] = Run(state, self._followers.take(state.saga_id))
            proposals[state.saga_id] = Proposal(run)
            proposals[state.saga_id].add(OwnerGone(self.worker_id), now)
        self._later(Chore.RECOVER, every_s)

    def _later(self, chore: Chore, wait_s: float) -> None:
        self._timers.set(chore, self._clock.now() + timedelta(seconds=wait_s), chore)
