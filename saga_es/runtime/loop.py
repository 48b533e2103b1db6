"""The loop: one thread's work, which owns all running sagas of a process and is its only writer.

    inbox -> decide -> append (one transaction for the whole batch) -> evolve -> perform -> inbox

While one batch is being committed, facts pile up and become the next: group commit without tuning. Nothing is
performed before its intent is committed. Time, calls and storage come from outside, so that the very same loop runs
under a simulator. `worker.py` puts the loop together, and `Engine` gives it a thread.
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
    StartRequest,
    StopRequest,
)
from saga_es.runtime.intake.forwarding import Forwarding
from saga_es.runtime.owned import OwnedSagas


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
    ) -> None:
        self._inbox = inbox
        self._owned = owned
        self._dispatch = dispatch
        self._committer = committer
        self._forwarding = forwarding
        self._chores = chores

    def iterate(self, items: Iterable[Item]) -> int:
        """Take everything that came in and the timers that are due, as one batch.

        Returns:
            How many items the inbox holds once all calls that went out have come back, but no more than one batch
            takes; 0 when none went out.

        Raises:
            StoreUnavailable: The database is away and the clock was woken to stop; the batch is not settled.
        """
        batch = Batch(self._chores.now())
        for item in [*items, *self._dispatch.due(batch.now, MOST_AT_ONCE)]:
            self._decide(item, batch)
        self._chores.run(batch)
        self._committer.commit(batch)  # appends, evolves, and performs what was appended
        waiting = len(self._inbox)  # before the calls go out: they may be back sooner than we can look
        calls = self._dispatch.send()
        if self._dispatch.has_capacity_again():
            self._chores.schedule(TakeOver)
        return min(waiting + calls, MOST_AT_ONCE) if calls else 0

    def _decide(self, item: Item, batch: Batch) -> None:  # noqa: C901 (a table: one case an item)
        """Propose what follows from an item."""
        match item:
            case FactArrived(saga_id, fact):
                saga = self._owned.get(saga_id)
                if saga is not None:  # otherwise it ended meanwhile, or is no longer ours
                    batch.proposal(saga).add(fact, batch.now)
            case StartRequest():
                self._start(item, batch)
            case CommandRequest():
                self._command(item, batch)
            case AppendRequest():
                if not batch.append(item):  # a batch holds one draft a stream
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
            self._owned.join(saga, batch.proposal(saga).state, request)
            return
        definition = request.definition
        saga = self._owned.add(SagaState(request.saga_id, definition.plan), request.handle)
        waits = request.starts_at is None and not self._dispatch.reserve(definition.name)
        worker = None if waits else self._owned.worker_id
        start = Start(definition.plan_id, request.input, worker, request.tags, request.starts_at, request.parent)
        batch.proposal(saga).add(start, batch.now)

    def _command(self, request: CommandRequest, batch: Batch) -> None:
        saga = self._owned.get(request.saga_id)
        try:
            if saga is None:
                self._forwarding.add(request)
                self._chores.schedule_if_idle(ForwardCommands)
            elif (proposal := batch.proposal(saga)).state.status.ended:
                self._inbox.put(request)  # once its end is in the log nobody owns it, and the command is forwarded
            else:
                proposal.follow(request, batch.now)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a command, only its caller is told)
            request.settle(error)
