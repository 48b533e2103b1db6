"""Acts on committed events: an intent becomes a call, a wait becomes a timer, a child becomes a saga."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import Context
from datetime import datetime, timedelta
from functools import lru_cache

from saga_es.core import events as e
from saga_es.core.facts import CallReturned, CodeMissing, RetryDue, Woken
from saga_es.core.migration import present_name
from saga_es.core.outcomes import Direction, Outcome, Unavailable, Unknown
from saga_es.core.plan import Child
from saga_es.core.retry import is_last
from saga_es.core.state import SagaState, direction_of, open_intents
from saga_es.runtime.admission import Admission
from saga_es.runtime.arguments import child_id, given, key_of
from saga_es.runtime.calls.away import Absence, Key
from saga_es.runtime.calls.port import Call, Executor, is_taken, lane_of
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.children import Children
from saga_es.runtime.held_calls import Heard, HeldCalls, Timer, TryAgain
from saga_es.runtime.inbox import CallTimedOut, FactArrived, Item, Put, RetryTimer
from saga_es.runtime.needed_code import CodeHere, Missing, cannot_call
from saga_es.runtime.progress import Progress
from saga_es.runtime.replied import replied
from saga_es.runtime.tracing import PassedOn, Tracing
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.timers import Timers

_Way = tuple[str, Direction]
"""A step, and the direction of its call."""

_NOTHING: dict[_Way, Call | None] = {}

_NOT_MADE = Unavailable("not called: the saga aborted before")


class Dispatch:
    """The calls in flight, and the timers of sagas: for each step and direction, one call or one timer.

    Used by the loop's thread.

    Args:
        put: Puts facts into the inbox; it is called from any thread.

    Attributes:
        admission: Whether more sagas may begin here.
        progress: Hears what calls say while they go on.
        in_flight: How many calls have not returned.
        stopped: Whether no more calls are made.
    """

    def __init__(
        self,
        executor: Executor,
        timers: Timers[Timer],
        clock: Clock,
        code: CodeHere,
        put: Put,
        capacity: Capacity | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._executor = executor
        self._timers = timers
        self._clock = clock
        self._code = code
        self._put = put
        self._capacity = capacity or Capacity()
        self._children = Children(code, put, tracing or PassedOn())
        self._under_way: dict[str, dict[_Way, Call | None]] = {}  # by saga; the call in flight, None: a timer
        self._made: list[Call] = []
        self._carried: dict[str, Context] = {}
        self.progress = Progress(executor, timers, clock, put)
        self._held = HeldCalls(executor, timers, clock, put, self._begin, self._put_off)
        self.admission = Admission(executor, self._held, self._capacity)
        self._now: datetime | None = None  # as read in this turn; a time-out that is looked at early is looked at again
        self.in_flight = 0
        self.stopped = False

    def carry(self, saga_id: str, context: Context) -> None:
        """Make the saga's calls with these context variables for as long as this worker owns it."""
        self._carried[saga_id] = context

    def perform(self, state: SagaState, events: Iterable[e.SagaEvent]) -> None:  # noqa: C901, PLR0912 (a table: one case an event)
        """Act on committed events: release the calls whose outcome they hold, make the next calls, set timers."""
        for event in events:
            match event:
                case e.StepStarted(step, attempt):
                    self._call(state, step, Direction.ACTION, attempt)
                case e.CompensationStarted() | e.ProbeStarted() | e.ChildStarted() | e.WaitStarted():
                    self._intent(state, event)
                case e.StepFailed(retry_at=datetime()) | e.CompensationFailed(retry_at=datetime()):
                    self._intent(state, event)
                case e.StepCompleted(step):
                    self._ended(state.saga_id, step, Direction.ACTION, "answer")
                case e.StepFailed(step, failure=failure):
                    self._ended(state.saga_id, step, Direction.ACTION, failure)
                case e.StepSkipped(step):
                    self._ended(state.saga_id, step, Direction.ACTION, "nothing")
                case e.CompensationCompleted(step):
                    self._ended(state.saga_id, step, Direction.COMPENSATION, "answer")
                case e.CompensationFailed(step, failure=failure):
                    self._ended(state.saga_id, step, Direction.COMPENSATION, failure)
                case e.CompensationSkipped(step):
                    self._ended(state.saga_id, step, Direction.COMPENSATION, "nothing")
                case e.ProbeAnswered(step, happened):
                    self._ended(state.saga_id, step, Direction.PROBE, "unknown" if happened is None else "answer")
                case e.SagaStarted(starts_at=None, deadline_at=None):
                    pass
                case e.SagaStarted():
                    self._set_alarms(state)
                case e.SagaAborted():
                    self._children.revoke(state)
                    self._withdraw(state.saga_id)
                case e.SagaPaused():
                    self._pause(state.saga_id)
                case e.RetryOrdered():
                    self.resume(state)
                    self._held.let_retries(state.saga_id, self._under_way.get(state.saga_id, _NOTHING))
                case e.SagaResumed() | e.SagaCancelled() | e.SagaMigrated():
                    self.resume(state)
                case _:
                    pass

    def send(self) -> int:
        """Hand over the calls that were collected since the last time, so that a batch's calls begin together.

        Those to a participant that is away are held back.

        Returns:
            The number of calls.
        """
        made, self._made = self._made, []
        if self._held.lanes.away:
            now = self._clock.now()
            made = [call for call in made if not (call.is_given_up or self._is_held_back(call, now))]
        if made:
            for call, error in self._executor.perform(made, self._returned):
                self._put(FactArrived(call.saga_id, cannot_call(error)))
        return len(made)

    def due(self, now: datetime, most: int) -> list[Item]:
        """Take the timers that are due, at most `most` of them. Calls that timed out are given up."""
        due: list[Item] = []
        self._now = now
        for item in self._timers.due(now, most):
            if isinstance(item, TryAgain):
                self._held.try_again(item.lane, now)
            elif not self._is_early(item, now):
                due.append(item)
        return due

    def drop_unsent(self) -> None:
        """Drop the calls that were not handed over yet. Their sagas are taken over again, and make them then."""
        self._made.clear()

    def resume(self, state: SagaState) -> None:
        """Perform every open intent that is not in flight here: after a takeover, a pause or a command."""
        first = len(self._made)
        if state.renamed:
            self._rename(state)
        intents = open_intents(state)
        for way in [] if state.paused else replied(self._under_way.get(state.saga_id, _NOTHING), intents):
            self._ended(state.saga_id, *way, "answer")
        for intent in intents:
            if not self._is_in_flight(state.saga_id, (intent.step, direction_of(intent))):
                self._intent(state, intent)
        for call in self._made[first:]:
            call.may_have_begun = True
        self._set_alarms(state)
        if state.aborted:
            self._children.revoke(state)
            self._withdraw(state.saga_id)

    def _rename(self, state: SagaState) -> None:
        """Keep the calls in flight of steps that a migration renamed under their present names."""
        ways = self._under_way.get(state.saga_id, _NOTHING)
        for was, direction in [way for way in ways if present_name(way[0], state.renamed) != way[0]]:
            key, now = (state.saga_id, was, direction), present_name(was, state.renamed)
            if ways[was, direction] is None or key in self._held:
                self._ended(*key, "nothing")  # the timer is set again, the call that was held back is made again
                continue
            ways[now, direction] = ways.pop((was, direction))
            self._held.drop(key)
            timer = self._timers.cancel(key)
            if isinstance(timer, CallTimedOut):
                left = timedelta(seconds=self._executor.left_s(timer.call))
                self._timers.set((state.saga_id, now, direction), self._clock.now() + left, timer)

    def forget(self, state: SagaState) -> None:
        """Drop the calls and timers of a saga that has ended, or that this worker no longer owns."""
        if self._carried:
            self._carried.pop(state.saga_id, None)
        given_up: list[Call] = []
        for (step, direction), call in self._under_way.pop(state.saga_id, _NOTHING).items():
            key = (state.saga_id, step, direction)
            timer = self._timers.cancel(key)
            if call is not None:
                self._released(key)
            self._held.drop(key)
            if isinstance(timer, CallTimedOut):
                given_up.append(timer.call)
        # First the calls that wait: a thread that is started in place of one that hangs must not begin them.
        for call in sorted(given_up, key=lambda call: call.began_at is not None) if given_up else ():
            self._executor.give_up(call)
        if state.starts_at is not None or state.deadline_at is not None:
            self._timers.cancel((state.saga_id, "starts_at"))
            self._timers.cancel((state.saga_id, "deadline_at"))
        self._children.forget(state)

    def _intent(self, state: SagaState, intent: e.Intent) -> None:  # noqa: C901 (a table: one case an intent)
        match intent:
            case e.StepStarted(step, attempt):
                self._call(state, step, Direction.ACTION, attempt)
            case e.CompensationStarted(step, attempt) if isinstance(state.plan.step(step).work, Child):
                self._children.undo(state, step, attempt)
            case e.CompensationStarted(step, attempt):
                self._call(state, step, Direction.COMPENSATION, attempt)
            case e.ProbeStarted(step, attempt):
                self._call(state, step, Direction.PROBE, attempt)
            case e.ChildStarted(step):
                self._ended(state.saga_id, step, Direction.ACTION, "nothing")
                self._children.start(state, intent)
            case e.WaitStarted(step, until):
                self._ended(state.saga_id, step, Direction.ACTION, "nothing")
                self._wait(state.saga_id, step, Direction.ACTION, until, FactArrived(state.saga_id, Woken()))
            case e.StepFailed(step, attempt, failure, retry_at=due):
                self._retry(state, RetryDue(step, Direction.ACTION, attempt), failure, due)
            case e.CompensationFailed(step, attempt, failure, retry_at=due):
                self._retry(state, RetryDue(step, Direction.COMPENSATION, attempt), failure, due)

    def _is_early(self, item: Item, now: datetime) -> bool:
        """Whether the item is the timer of a call that is not late, or of a retry that is held back.

        The timer of such a call is set again, for the rest.
        """
        if isinstance(item, RetryTimer):
            return self._is_held_back(item, now)
        if not isinstance(item, CallTimedOut):
            return False
        call = item.call
        key = (call.saga_id, call.step, call.direction)
        left_s = call.timeout_s if key in self._held else self._executor.left_s(call)
        if left_s > 0:
            self._timers.set(key, now + timedelta(seconds=left_s), item)
            return True
        self._executor.give_up(call)
        self._held.note(key, call, "unknown")
        return False

    def _withdraw(self, saga_id: str) -> None:
        """Withdraw the actions of an aborted saga that have not begun: there is nothing to undo then.

        Those that have begun are told.
        """
        for step, direction in self._under_way.get(saga_id, _NOTHING):
            timer = self._timers.get((saga_id, step, direction))
            if direction is Direction.ACTION and isinstance(timer, CallTimedOut):
                call = timer.call
                if not call.may_have_begun and call.began_at is None and not self._executor.give_up(call):
                    self._returned(call, _NOT_MADE)
                else:
                    self._executor.cancel(call)

    # ── Calls ────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, state: SagaState, step: str, direction: Direction, attempt: int) -> None:
        way, saga_id = (step, direction), state.saga_id
        if saga_id not in self._under_way:
            self._under_way[saga_id] = {}
        if self.stopped or (way in self._under_way[saga_id] and self._under_way[saga_id][way] is not None):
            return  # stopped: the next worker finds the intent in the log; in flight: it was performed after a pause
        found = self._code.written(state, step, direction)
        if isinstance(found, Missing):
            self._put(FactArrived(state.saga_id, CodeMissing(found.why)))
            return
        planned, is_action = state.plan.step(step), direction is Direction.ACTION
        key = key_of(state, step, direction)
        call = Call(
            state.saga_id,
            step,
            direction,
            attempt,
            found.action if is_action else found.callee(direction),
            key,
            given(state, step, direction, key),
            planned.timeout_s,
            found.condition if is_action and planned.condition else None,
            child_id(state, step, attempt) if type(planned.work) is Child else None,
            state.plan.saga,
            state.plan,
            tags=state.tags,
            carried=self._carried.get(state.saga_id) if self._carried else None,
            worker=state.owner,
            trace=state.trace,
            is_cancellable=found.cancellable and is_action,
            is_cancelled=state.aborted and is_action,
            says=self.progress.said,
            is_last=bool(self._held.lanes.away) and is_last(state, step, direction, attempt),
        )
        late = CallReturned(step, direction, attempt, _no_answer(planned.timeout_s))
        self._under_way[saga_id][way] = call
        due = (self._now or self._clock.now()) + timedelta(seconds=planned.timeout_s)
        self._timers.set((state.saga_id, step, direction), due, CallTimedOut(state.saga_id, late, call))
        self.in_flight += 1
        self._capacity.acquire(saga_id, call.definition)
        self._made.append(call)

    def is_calling(self, saga_id: str) -> bool:
        """Whether the saga has a call in flight."""
        return any(self._under_way.get(saga_id, _NOTHING).values())

    def _is_in_flight(self, saga_id: str, way: _Way) -> bool:
        return self._under_way.get(saga_id, _NOTHING).get(way) is not None

    def _ended(self, saga_id: str, step: str, direction: Direction, heard: Heard) -> None:
        way, key = (step, direction), (saga_id, step, direction)
        if saga_id not in self._under_way or way not in self._under_way[saga_id]:
            return
        call = self._under_way[saga_id][way]
        del self._under_way[saga_id][way]
        timer = self._timers.cancel(key)
        if call is not None and not call.is_back and is_taken(call):
            self._executor.give_up(call)  # its reply is in the log
        if call is not None and (key not in self._held.calls or not self._held.takes_leave(key)):
            self.in_flight -= 1
            self._capacity.release(saga_id)
        if heard != "answer" or self._held.lanes.failing or self._held.lanes.away:
            self._held.note(key, timer.call if isinstance(timer, CallTimedOut) else None, heard)

    def _returned(self, call: Call, outcome: Outcome) -> None:
        self._put(FactArrived(call.saga_id, CallReturned(call.step, call.direction, call.attempt, outcome)))

    # ── Times ────────────────────────────────────────────────────────────────────────────────────────────

    def _retry(self, state: SagaState, fact: RetryDue, failure: e.Failure, due: datetime | None) -> None:
        self._ended(state.saga_id, fact.step, fact.direction, failure)  # the new timer replaces the call's time-out
        found = self._code.written(state, fact.step, fact.direction)
        if isinstance(found, Missing):
            item = FactArrived(state.saga_id, fact)
        else:
            lane = lane_of(found.callee(fact.direction), state.plan.saga, fact.step, fact.direction)
            no_more = is_last(state, fact.step, fact.direction, fact.attempt + 1)
            item = RetryTimer(state.saga_id, fact, state.plan.saga, lane, no_more)
        self._wait(state.saga_id, fact.step, fact.direction, due, item)

    def _wait(self, saga_id: str, step: str, direction: Direction, due: datetime | None, item: FactArrived) -> None:
        if due is not None:
            self._under_way.setdefault(saga_id, {})[step, direction] = None
            self._timers.set((saga_id, step, direction), due, item)

    def _set_alarms(self, state: SagaState) -> None:
        for name in ("starts_at", "deadline_at"):
            if (due := getattr(state, name)) is not None:  # even if it passed during the commit
                self._timers.set((state.saga_id, name), due, FactArrived(state.saga_id, Woken()))

    # ── Participants that are away ───────────────────────────────────────────────────────────────────────

    def absence(self, saga_id: str, step: str) -> Absence | None:
        """Why a call of a step is held back; None if it is not. Any thread may ask."""
        return self._held.absence(saga_id, step)

    def absence_for(self, definition: str) -> Absence | None:
        """For whom new sagas of a definition stay in the log; None if they do not. Any thread may ask."""
        return self._held.absence_for(definition)

    def _is_held_back(self, item: Call | RetryTimer, now: datetime) -> bool:
        """Whether a call or retry waits for a participant that is away. A worker that stops holds nothing back."""
        return not self.stopped and self._held.holds_back(item, now)

    def _pause(self, saga_id: str) -> None:
        """Forget calls that are held back: a saga that is paused begins none. When it is resumed, they are made."""
        for step, direction in list(self._under_way.get(saga_id, _NOTHING)):
            if (saga_id, step, direction) in self._held:
                self._ended(saga_id, step, direction, "nothing")

    def _begin(self, call: Call) -> None:
        self.in_flight += 1
        self._capacity.acquire(call.saga_id, call.definition)
        self._made.append(call)

    def _put_off(self, call: Call) -> None:
        self.in_flight -= 1
        self._capacity.release(call.saga_id)

    def _released(self, key: Key) -> None:
        if not self._held.takes_leave(key):
            self.in_flight -= 1
            self._capacity.release(key[0])


@lru_cache(256)
def _no_answer(timeout_s: float) -> Unknown:
    return Unknown(f"no answer within {timeout_s:g} s")
