"""A batch: what one iteration of the loop proposes to append, how it is committed, and what follows from the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import assert_never

import msgspec

from saga_es.core import events as e
from saga_es.core.decide import advance
from saga_es.core.facts import CannotGoOn, Fact, OwnerGone, Start, Woken
from saga_es.core.state import SagaState
from saga_es.errors import CommandRefused, PayloadTooLarge, PayloadUnencodable, UnreadableEvent
from saga_es.logs import logger
from saga_es.runtime.announcing import about, lines
from saga_es.runtime.calls.outcomes import text
from saga_es.runtime.inbox import AppendRequest, CommandRequest, FactArrived, Put, StartRequest
from saga_es.runtime.owned import OwnedSaga, OwnedSagas
from saga_es.runtime.recordable import recordable
from saga_es.runtime.tracing import Tracing
from saga_es.runtime.waiting.outage import Retry
from saga_es.store.encryption.errors import NoKey
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.ports import Conflict, Receipt, Refused, Written
from saga_es.store.store import Store

UNDATED = datetime.min.replace(tzinfo=UTC)
"""The time of a draft that is prepared and never appended."""


class Proposal(msgspec.Struct, eq=False):
    """What one batch wants to append to one saga: the facts so far, their events, and the resulting state.

    Attributes:
        base: The state that the decisions start from. The events are appended right after its version.
        commands: The commands that were decided. Their callers wait.
        refused: The commands that were refused, each with the error. Their callers wait, too: the refusal is right if
            the log has no more than `base`.
        size: The bytes of the encoded events.
    """

    saga: OwnedSaga
    base: SagaState
    state: SagaState
    facts: list[Fact] = []
    commands: list[CommandRequest] = []
    refused: list[tuple[CommandRequest, CommandRefused]] = []
    events: list[e.SagaEvent] = []
    size: int = 0

    @property
    def first(self) -> Fact | None:
        """The first fact; commands are not counted."""
        return self.facts[0] if self.facts else None

    def add(self, fact: Fact, now: datetime) -> None:
        """Decide on one more fact, after those before it. An error in deciding fails this saga alone."""
        try:
            events, state = advance(self.state, fact, now)
        except Exception as error:
            logger.exception("deciding failed", **about(self.state), fact=repr(fact))
            cannot = CannotGoOn(f"deciding failed: {type(error).__name__}: {text(error)}")
            events, state = advance(self.state, cannot, now)
        self.state = state
        self.facts.append(fact)
        self.events += events

    def follow(self, request: CommandRequest, now: datetime) -> None:
        """Decide on a command."""
        try:
            events, self.state = advance(self.state, request.command, now)
        except CommandRefused as error:
            self.refused.append((request, error))
            return
        self.commands.append(request)
        self.events += events

    def settle_callers(self) -> None:
        """Tell all callers of commands: what was decided is in the log."""
        self.settle_commands()
        self.settle_refusals()

    def settle_commands(self, error: Exception | None = None) -> None:
        """Resolve the waiting callers: their commands are in the log, or the error says why they are not."""
        for request in self.commands:
            request.settle(error)

    def settle_refusals(self) -> None:
        """Tell the callers whose commands were refused: the log has nothing that was not considered."""
        for request, error in self.refused:
            request.settle(error)


class Batch(msgspec.Struct, eq=False):
    """What one iteration proposes: at most one proposal for each saga, and one append for each other stream.

    Attributes:
        now: The time of every decision in the batch.
        unconfirmed: The proposals that refuse commands and append nothing, so that no conflict can show that the log
            has more than they considered.
        of_sagas: The proposals, each by its saga.
        of_streams: The appends, each by its stream.
    """

    now: datetime
    unconfirmed: list[Proposal] = []
    of_sagas: dict[str, Proposal] = {}
    of_streams: dict[str, AppendRequest] = {}

    @property
    def proposals(self) -> list[Proposal]:
        """One proposal for each saga, oldest first."""
        return list(self.of_sagas.values())

    @property
    def appends(self) -> list[AppendRequest]:
        """One append for each stream, in the order of arrival."""
        return list(self.of_streams.values())

    def decide(self, saga: OwnedSaga, fact: Fact) -> None:
        """Add what follows from a fact to the proposal for a saga."""
        saga_id = saga.state.saga_id
        if saga_id not in self.of_sagas:
            self.of_sagas[saga_id] = Proposal(saga, saga.state, saga.state)
        self.of_sagas[saga_id].add(fact, self.now)

    def proposal(self, saga: OwnedSaga) -> Proposal:
        """The proposal for a saga. It is created if the batch has none."""
        return self.of_sagas.setdefault(saga.state.saga_id, Proposal(saga, saga.state, saga.state))

    def withdraw(self, saga_id: str) -> Proposal | None:
        """Remove the proposal for a saga and return it; None if there is none."""
        return self.of_sagas.pop(saga_id, None)

    def append(self, request: AppendRequest) -> bool:
        """Add an append; False if the batch already has one for that stream, which then belongs in the next batch."""
        return self.of_streams.setdefault(request.stream_id, request) is request


class Committer:
    """Appends batches, and settles each proposal by its receipt: the saga goes on, catches up, or fails.

    Args:
        owned: The sagas of this worker.
        put: Puts facts and commands that have to be decided again back into the inbox.
        retry: Repeats an operation until the database answers: nothing can go on without it.
        keep_alive: Sends a heartbeat between the splits of a large batch. One split may take as long as a lease.
        tracing: Is told of takeovers.
    """

    def __init__(
        self,
        store: Store,
        owned: OwnedSagas,
        put: Put,
        retry: Retry,
        keep_alive: Callable[[], None],
        tracing: Tracing,
    ) -> None:
        self._writer = store.writer
        self._sagas = store.sagas
        self._owned = owned
        self._put = put
        self._retry = retry
        self._keep_alive = keep_alive
        self._tracing = tracing
        self._lines = lines()

    def commit(self, batch: Batch) -> None:
        """Append the batch and settle all of it. A batch that is too large for one transaction is split.

        Raises:
            StoreUnavailable: The database is away, and the worker is stopping.
        """
        self._lines = lines()
        for number, chunk in enumerate(split(self._drafts(batch))):
            if number:
                self._keep_alive()
            receipts = self._retry(partial(self._writer.write, [prepared for _, prepared in chunk]))
            for (settle, _), receipt in zip(chunk, receipts, strict=True):
                settle(receipt)
        if batch.unconfirmed:
            self._confirm_refusals(batch.unconfirmed)

    def join(self, saga: OwnedSaga, state: SagaState, request: StartRequest) -> None:
        """Attach a start to a saga that this worker owns, or say why the saga does not answer it.

        Raises:
            StoreUnavailable: The database is away, and the worker is stopping.
        """
        name, input_, parent = request.definition.name, request.input, request.parent
        error = self._retry(lambda: self._sagas.why_no_answer(state, name, input_, parent, request.by))
        if error is not None and saga.state.version == 0:
            self._put(request)  # what is not in the log yet refuses nothing: a crash may undo it
            return
        self._owned.join(saga, request, error)

    def catch_up(self, sagas: Sequence[OwnedSaga], batch: Batch) -> None:
        """Load what others appended to these sagas and go on from there. Their proposals are decided again.

        Sagas that are asleep are loaded when there is room for them: it is enough to wake them.
        """
        awake = [saga for saga in sagas if not saga.is_asleep]
        for saga in sagas if len(awake) < len(sagas) else ():
            if saga.is_asleep:
                self._put(FactArrived(saga.state.saga_id, Woken()))
        found = self._retry(lambda: self._sagas.find_many([saga.state.saga_id for saga in awake])) if awake else {}
        for saga in awake:
            outdated = batch.withdraw(saga.state.saga_id) or Proposal(saga, saga.state, saga.state)
            self._decide_again(outdated, found.get(saga.state.saga_id))

    def put_back(self, proposal: Proposal) -> None:
        """Put the commands of a proposal back into the inbox, also those it refused: the log decides on them now."""
        for request in proposal.commands:
            self._put(request)
        for request, _ in proposal.refused:
            self._put(request)

    # ── Before the append ────────────────────────────────────────────────────────────────────────────────

    def _drafts(self, batch: Batch) -> Iterable[Wanted]:
        for proposal in batch.of_sagas.values():
            if prepared := self._prepared(proposal, batch):
                proposal.size = prepared.size
                yield partial(self._settle, proposal), prepared
        for request in batch.of_streams.values() if batch.of_streams else ():
            yield request.settle, request.prepared

    def _prepared(self, proposal: Proposal, batch: Batch) -> Prepared | None:
        base = proposal.base
        if not proposal.events:
            proposal.settle_commands()
            if proposal.refused:
                batch.unconfirmed.append(proposal)
            return None
        try:
            notifies = proposal.state.owner is None  # the saga waits for a worker that has capacity
            trace = proposal.state.trace
            trace_id = None if trace is None else trace.trace_id
            events, key = tuple(proposal.events), proposal.state.key
            draft = Draft(base.saga_id, SAGA, base.version, events, batch.now, notifies, trace_id, key)
            if key is None:
                return self._writer.prepare(draft)
            return self._retry(partial(self._writer.prepare, draft))
        except NoKey as error:
            self._park(proposal, error)
            return None
        except (PayloadTooLarge, PayloadUnencodable) as error:
            self._refused(proposal, str(error))
            return None

    def _park(self, proposal: Proposal, error: NoKey) -> None:
        """Let a saga be whose key cannot be had: nothing of it can be recorded, so nothing of it may happen."""
        saga = proposal.saga
        logger.warning("a saga is parked", **about(proposal.base), reason=str(error))
        proposal.settle_commands(error)
        proposal.settle_refusals()
        if saga.state.version == 0:
            self._owned.fail(saga, error)
        self._owned.drop(saga)

    # ── After it ─────────────────────────────────────────────────────────────────────────────────────────

    def _settle(self, proposal: Proposal, receipt: Receipt) -> None:  # noqa: C901 (a table: one case a receipt)
        if type(receipt) is Written:
            for event in proposal.events:
                if type(event) in self._lines:
                    self._lines[type(event)](proposal.state, event)
        match receipt:
            case Written() if proposal.state.owner is None:
                self._owned.release(proposal.saga)
                proposal.settle_callers()
            case Written():
                # After a takeover every open intent has to be performed again, not only those of this batch.
                is_takeover = bool(proposal.facts) and type(proposal.facts[0]) is OwnerGone
                events = None if is_takeover else proposal.events
                if events is None:
                    self._tracing.taken_over(proposal.state, proposal.base.owner)
                # Its state keeps nothing of a call's progress: with that alone, it does not grow in memory.
                grows = type(proposal.events[-1]) is not e.StepProgressed or not _only_progressed(proposal.events)
                self._owned.advance(proposal.saga, proposal.state, events, proposal.size if grows else 0)
                if proposal.commands or proposal.refused:
                    proposal.settle_callers()
            case Conflict():
                self._overtaken(proposal)
            case Refused(reason):
                self._refused(proposal, reason)
            case _:
                assert_never(receipt)

    def _confirm_refusals(self, proposals: Sequence[Proposal]) -> None:
        """Read the sagas of refused commands: what another process appended may make a refusal wrong."""
        found = self._retry(lambda: self._sagas.find_many([proposal.base.saga_id for proposal in proposals]))
        for proposal in proposals:
            state = found.get(proposal.base.saga_id)
            if isinstance(state, SagaState) and state.version <= proposal.base.version:
                proposal.settle_refusals()
            else:
                self._decide_again(proposal, state)

    def _overtaken(self, proposal: Proposal) -> None:
        """Another worker appended to the saga's stream: its events decide who owns the saga now."""
        saga_id = proposal.base.saga_id
        self._decide_again(proposal, self._retry(lambda: self._sagas.find_many([saga_id])).get(saga_id))

    def _decide_again(self, proposal: Proposal, state: SagaState | UnreadableEvent | None) -> None:
        """Decide the proposal again from the state in the log; drop the saga if this worker no longer owns it."""
        saga = proposal.saga
        match proposal.first, state:
            case Start(input=input_, parent=parent, by=by), SagaState():
                name = saga.state.plan.saga
                error = self._retry(lambda: self._sagas.why_no_answer(state, name, input_, parent, by))
                if error is not None:
                    self._owned.fail(saga, error)
            case _:
                pass
        if self._owned.catch_up(saga, state):
            self._put_facts_back(proposal)
        self.put_back(proposal)

    def _put_facts_back(self, proposal: Proposal) -> None:
        for fact in proposal.facts:
            self._put(FactArrived(proposal.base.saga_id, fact))

    def _refused(self, proposal: Proposal, reason: str) -> None:
        saga, saga_id = proposal.saga, proposal.base.saga_id
        if proposal.commands:  # a caller's payload must not fail the saga: the facts are tried without the commands
            proposal.settle_commands(PayloadUnencodable(f"the database does not accept this command: {reason}"))
            proposal.commands.clear()
            self._put_facts_back(proposal)
        elif saga.state.version == 0:  # the log has no event of the saga: it was never started
            self._owned.fail(saga, self._retry(lambda: self._sagas.refused_start(saga_id, reason)))
            self._owned.drop(saga)
        elif (recorded := self._recordable(proposal, reason)) != proposal.facts:
            logger.warning("what cannot be recorded is replaced by what says so", **about(proposal.base), reason=reason)
            for fact in recorded:
                self._put(FactArrived(saga_id, fact))
        elif any(isinstance(fact, CannotGoOn) for fact in proposal.facts):
            logger.error("the failure of a saga could not be recorded", **about(proposal.base), reason=reason)
            self._owned.drop(saga)
        else:
            self._put(FactArrived(saga_id, CannotGoOn(f"an event could not be recorded: {reason}")))
        self.put_back(proposal)  # what was refused may be accepted now: nothing of the proposal came to pass

    def _recordable(self, proposal: Proposal, reason: str) -> list[Fact]:
        """The facts, those that the log does not accept in another form; all of them if each alone is accepted."""
        refused = [not self._fits(proposal, fact) for fact in proposal.facts]
        return [
            recordable(fact, reason) if is_refused or not any(refused) else fact
            for fact, is_refused in zip(proposal.facts, refused, strict=True)
        ]

    def _fits(self, proposal: Proposal, fact: Fact) -> bool:
        try:
            self._writer.prepare(Draft(proposal.base.saga_id, SAGA, 0, (fact,), UNDATED))
        except (PayloadTooLarge, PayloadUnencodable):
            return False
        return True


def _only_progressed(events: Iterable[e.SagaEvent]) -> bool:
    return all(isinstance(event, e.StepProgressed) for event in events)


# ── A batch in several transactions ──────────────────────────────────────────────────────────────────────

Wanted = tuple[Callable[[Receipt], None], Prepared]
"""A callback for the receipt, and the prepared draft."""

MAX_TRANSACTION_SIZE = 16_777_216
"""Bytes of encoded events in one transaction; a larger draft has a transaction of its own. PostgreSQL accepts no
parameter above 1 GB, in which every quote is escaped again. No heartbeat is sent while a transaction is written."""


def split(drafts: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Split the drafts, in their order, into transactions of at most `MAX_TRANSACTION_SIZE` bytes."""
    chunk: list[Wanted] = []
    size = 0
    for draft in drafts:
        more = draft[1].size
        if chunk and size + more > MAX_TRANSACTION_SIZE:
            yield chunk
            chunk, size = [], 0
        chunk.append(draft)
        size += more
    if chunk:
        yield chunk
