"""The loop: the work of one thread, which owns all running sagas of a process and alone appends to their streams.

    inbox -> decide -> append (one transaction for the whole batch) -> evolve -> perform -> inbox

While one batch is being committed, facts collect in the inbox and become the next batch: group commit without tuning.
No call is made before its intent is committed. Time, calls and storage come from outside, so the same loop runs in a
simulator. `worker.py` builds the loop, and `Engine` gives it a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from saga_es.core.facts import Start
from saga_es.core.state import SagaState
from saga_es.runtime.batch import Batch, Committer
from saga_es.runtime.chores import Chores, ForwardCommands, TakeOver
from saga_es.runtime.dispatch import Dispatch
from saga_es.runtime.inbox import (
    MOST_AT_ONCE,
    AppendRequest,
    CommandRequest,
    FactArrived,
    FollowRequest,
    Inbox,
    Item,
    ProgressMade,
    StartRequest,
    StopRequest,
)
from saga_es.runtime.intake.forwarding import Forwarding
from saga_es.runtime.owned import OwnedSagas
from saga_es.runtime.payloads import PayloadMemory


class Loop:
    """The loop, without a thread: the thread that calls `iterate` is its thread."""

    def __init__(
        self,
        inbox: Inbox,
        owned: OwnedSagas,
        dispatch: Dispatch,
        committer: Committer,
        forwarding: Forwarding,
        chores: Chores,
        memory: PayloadMemory,
    ) -> None:
        self._inbox = inbox
        self._owned = owned
        self._dispatch = dispatch
        self._committer = committer
        self._forwarding = forwarding
        self._chores = chores
        self._memory = memory

    def iterate(self, items: Iterable[Item]) -> int:
        """Process these items, the due timers and the due chores as one batch.

        Returns:
            How many items the inbox will hold once all calls of this batch have returned, at most `MOST_AT_ONCE`;
            0 if the batch made no calls.

        Raises:
            StoreUnavailable: The database is away, and the clock was woken to stop. The batch is not settled.
        """
        batch = Batch(self._chores.now())
        arrived = [*items, *self._dispatch.due(batch.now, MOST_AT_ONCE)]
        for item in self._memory.awaken(arrived, batch.now):
            if type(item) is FactArrived and item.saga_id in self._owned.awake:  # most items
                batch.decide(self._owned.awake[item.saga_id], item.fact)
            else:
                self._decide(item, batch)
        self._chores.run(batch)
        self._committer.commit(batch)  # appends, evolves, and performs what was appended
        waiting = len(self._inbox.items)  # counted before the calls begin: they may return at once
        calls = self._dispatch.send()
        if self._dispatch.admission.has_capacity_again():
            self._chores.schedule(TakeOver)
        self._memory.let_go()
        return min(waiting + calls, MOST_AT_ONCE) if calls else 0

    def _decide(self, item: Item, batch: Batch) -> None:  # noqa: C901 (a table: one case an item)
        """Add what follows from an item to the batch."""
        match item:
            case FactArrived(saga_id, fact):
                saga = self._owned.get(saga_id)
                if saga is not None:  # otherwise it has ended, or another worker owns it
                    batch.proposal(saga).add(fact, batch.now)
            case ProgressMade(saga_id, call):
                saga = self._owned.get(saga_id)
                said = self._dispatch.progress.to_record(call)
                if saga is not None and said is not None and not saga.is_asleep:  # asleep: it has no call in flight
                    batch.proposal(saga).add(said, batch.now)
            case StartRequest():
                self._start(item, batch)
            case CommandRequest():
                self._command(item, batch)
            case AppendRequest():
                if not batch.append(item):  # a batch holds one draft for each stream
                    self._inbox.put(item)
            case FollowRequest(handle):
                self._owned.follow(handle)
            case StopRequest():
                self._dispatch.stopped = True
            case _:
                assert_never(item)

    def _start(self, request: StartRequest, batch: Batch) -> None:
        saga = self._owned.get(request.saga_id)
        if saga is not None:
            self._committer.join(saga, batch.proposal(saga).state, request)
            return
        definition = request.definition
        saga = self._owned.add(SagaState(request.saga_id, definition.plan), request.handle)
        waits = request.starts_at is None and not self._dispatch.admission.reserve(definition.name)
        worker = None if waits else self._owned.worker_id
        start = Start(
            definition.plan_id,
            request.input,
            worker,
            request.tags,
            request.starts_at,
            request.parent,
            request.trace,
            request.by,
            request.key,
        )
        batch.decide(saga, start)

    def _command(self, request: CommandRequest, batch: Batch) -> None:
        saga = self._owned.get(request.saga_id)
        try:
            if saga is None:
                self._forwarding.add(request)
                self._chores.schedule_if_idle(ForwardCommands)
            elif (proposal := batch.proposal(saga)).state.status.ended:
                self._inbox.put(request)  # once the end is in the log, the saga has no owner: then it is forwarded
            else:
                proposal.follow(request, batch.now)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a command concerns its caller alone)
            request.settle(error)
