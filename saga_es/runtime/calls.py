"""Acting on committed events: an intent becomes a call, a failure with a `retry_at` becomes a timer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from saga_es.core.events import (
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    SagaEvent,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from saga_es.core.facts import CallReturned, CannotGoOn, Direction, Outcome, RetryDue, Unknown
from saga_es.core.state import SagaState
from saga_es.definition import Callee, Saga
from saga_es.runtime.clock import Clock
from saga_es.runtime.executor import Call, Executor
from saga_es.runtime.ids import idempotency_key
from saga_es.runtime.inbox import Item, Tell
from saga_es.runtime.timers import Timers

Put = Callable[[Tell], None]


class Calls:
    """The calls that are out and the retries that are waited for; one of either a step and direction.

    Used by the loop's thread, but for `put`.
    """

    def __init__(
        self, executor: Executor, timers: Timers[Item], clock: Clock, definitions: Mapping[str, Saga], put: Put
    ) -> None:
        self._executor = executor
        self._timers = timers
        self._clock = clock
        self._definitions = definitions
        self._put = put
        self._out: set[tuple[str, str, Direction]] = set()
        self.stopped = False

    @property
    def out(self) -> int:
        """How many calls have not come back."""
        return len(self._out)

    def perform(self, state: SagaState, events: Iterable[SagaEvent]) -> None:
        """Act on events that are committed: end the call whose outcome they tell, make the next, set timers."""
        for event in events:
            match event:
                case StepCompleted(step) | StepFailed(step, retry_at=None):
                    self._ended(state.saga_id, step, Direction.ACTION)
                case CompensationCompleted(step) | CompensationFailed(step, retry_at=None):
                    self._ended(state.saga_id, step, Direction.COMPENSATION)
                case StepStarted(step, attempt):
                    self._call(state, step, Direction.ACTION, attempt)
                case CompensationStarted(step, attempt):
                    self._call(state, step, Direction.COMPENSATION, attempt)
                case StepFailed(step, attempt, retry_at=datetime() as due):
                    self._retry(state.saga_id, RetryDue(step, Direction.ACTION, attempt), due)
                case CompensationFailed(step, attempt, retry_at=datetime() as due):
                    self._retry(state.saga_id, RetryDue(step, Direction.COMPENSATION, attempt), due)
                case _:
                    pass

    def forget(self, state: SagaState) -> None:
        """The saga has ended, or is no longer ours: nothing more is waited for."""
        for step in state.steps:
            for direction in Direction:
                self._ended(state.saga_id, step, direction)

    def _call(self, state: SagaState, step: str, direction: Direction, attempt: int) -> None:
        if self.stopped:
            return  # the intent stands in the log: the next worker performs it
        callee = self._callee(state, step, direction)
        if isinstance(callee, CannotGoOn):
            self._put(Tell(state.saga_id, callee))
            return
        timeout_s = state.plan.step(step).timeout_s
        key = idempotency_key(state.saga_id, step, direction)
        given = _given(state, step, direction, key)
        call = Call(state.saga_id, step, direction, attempt, callee, key, given, timeout_s)
        out = (state.saga_id, step, direction)
        late = CallReturned(step, direction, attempt, Unknown(f"no answer within {timeout_s:g} s"))
        self._out.add(out)
        self._timers.set(out, self._clock.now() + timedelta(seconds=timeout_s), Tell(state.saga_id, late))
        self._executor.perform(call, self._tell)

    def _ended(self, saga_id: str, step: str, direction: Direction) -> None:
        self._out.discard((saga_id, step, direction))
        self._timers.cancel((saga_id, step, direction))

    def _tell(self, call: Call, outcome: Outcome) -> None:
        self._put(Tell(call.saga_id, CallReturned(call.step, call.direction, call.attempt, outcome)))

    def _callee(self, state: SagaState, step: str, direction: Direction) -> Callee | CannotGoOn:
        saga = self._definitions.get(state.plan.saga)
        if saga is None:
            return CannotGoOn(f"the code of step {step!r} is gone: no saga {state.plan.saga!r} is defined here")
        callee = saga.callee(step, compensation=direction is Direction.COMPENSATION)
        if callee is None:
            return CannotGoOn(f"the code of step {step!r} is gone: saga {saga.name!r} has no {direction} for it")
        return callee

    def _retry(self, saga_id: str, fact: RetryDue, due: datetime) -> None:
        # Under the key of the call's time-out, whose place it takes.
        self._ended(saga_id, fact.step, fact.direction)
        self._timers.set((saga_id, fact.step, fact.direction), due, Tell(saga_id, fact))


def _given(state: SagaState, step: str, direction: Direction, key: str) -> dict[str, Any]:
    """What the callee may ask for; in a compensation, a result that never came is None."""
    is_action = direction is Direction.ACTION
    return {
        **{planned.name: state.step(planned.name).result for planned in state.plan.steps},
        "input": state.input,
        "saga_id": state.saga_id,
        "key": key,
        "error": state.error,
        "action_key": key if is_action else idempotency_key(state.saga_id, step, Direction.ACTION),
    }
