"""The state of a saga: the fold of its events (`evolve`), and what can be read from it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.access import Starter
from saga_es.core.outcomes import Direction
from saga_es.core.plan import Plan, element_of, index_of, step_of
from saga_es.core.trace import Trace


class SagaStatus(StrEnum):
    """The status of a saga, in the words of the API."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """True when nothing more happens without a person."""
        return self in ENDED


ENDED = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED})
UNFINISHED = frozenset(SagaStatus) - ENDED


class StepStatus(StrEnum):
    """The status of a step, in the words of the API."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"


DONE = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})


class StepState(msgspec.Struct, frozen=True):
    """One step, or one element of a step that is done over a list.

    Actions and compensations are counted apart: compensation starts at attempt 1, however often the action was tried.

    Attributes:
        forgiven: Attempts that the policy does not count, because a person allowed more.
        waiting: The failure whose `retry_at` the step waits for; None while a call is in flight, or when none follows.
        wait: The wait of a step that only waits.
        child: The saga that the step runs.
        probing: A probe is in flight.
        probed: A probe did not confirm the action; no further probe is made before the next attempt.
        in_doubt: Some attempt ended unknown: the effect may exist although no answer confirmed it.
        interrupted: Its call was in flight when the worker crashed, and no outcome was recorded since.
        crashes: Workers that crashed while the call was in flight, since the last outcome; a pause does not count.
        stuck: Its compensation was given up.
        input: The input that a person gave this step instead of the saga's.
        called_as: The name under which it was called before a migration: its idempotency keys are made of that name.
    """

    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    compensation_attempts: int = 0
    forgiven: int = 0
    result: Any = None
    error: str | None = None
    frame: str | None = None
    waiting: e.StepFailed | e.CompensationFailed | None = None
    wait: e.WaitStarted | None = None
    child: e.ChildStarted | None = None
    probing: bool = False
    probed: bool = False
    in_doubt: bool = False
    interrupted: bool = False
    crashes: int = 0
    stuck: bool = False
    input: dict[str, Any] | None = None
    called_as: str | None = None

    @property
    def in_flight(self) -> bool:
        """Whether an answer will come without a person: to a call, to a probe, or from a child saga."""
        if self.probing:
            return True
        going = self.status is StepStatus.IN_PROGRESS or (self.status is StepStatus.COMPENSATING and not self.stuck)
        return going and self.waiting is None and self.wait is None and not self.probed


NOT_STARTED = StepState()


class SagaState(msgspec.Struct, frozen=True):
    """One saga.

    Attributes:
        version: How many events were folded: the version of the stream.
        steps: The steps and elements that have started, by name.
        fan_outs: The number of elements of each step that is done over a list, once the list is known.
        effects: Steps and elements that happened or may have, and are not compensated: in order of completion.
        signals: The payloads that no step has used yet, by signal, oldest first.
        signal_keys: Each signal that carried keys: each key, with the digest of what came under it.
        aborted: Whether the saga has aborted.
        failed_step: The step whose failure aborted the saga.
        cause: Why the saga aborted; its compensations receive it as `error`.
        error: Why the saga is FAILED; otherwise why it aborted.
        is_migrated: Whether the saga was migrated to the plan that it has.
        renamed: The present name of each step that a migration renamed, by its earlier names.
        trace: The trace to which its spans belong, if it was started within one.
        by: The principal that started it; None: nobody had to be known.
        key: The id of the key under which what is secret is encrypted; None: nothing is.
    """

    saga_id: str
    plan: Plan
    version: int = 0
    status: SagaStatus = SagaStatus.PENDING
    plan_id: str = ""
    input: dict[str, Any] = msgspec.field(default_factory=dict)
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    parent: str | None = None
    owner: str | None = None
    starts_at: datetime | None = None
    deadline_at: datetime | None = None
    steps: dict[str, StepState] = msgspec.field(default_factory=dict)
    fan_outs: dict[str, int] = msgspec.field(default_factory=dict)
    effects: tuple[str, ...] = ()
    signals: dict[str, tuple[Any, ...]] = msgspec.field(default_factory=dict)
    signal_keys: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    paused: e.SagaPaused | None = None
    aborted: bool = False
    failed_step: str | None = None
    cause: str | None = None
    error: str | None = None
    is_migrated: bool = False
    renamed: dict[str, str] = msgspec.field(default_factory=dict)
    trace: Trace | None = None
    by: Starter | None = None
    key: str | None = None

    def step(self, name: str) -> StepState:
        """The state of a step or element, also when it has not started."""
        return self.steps.get(name, NOT_STARTED)

    def elements(self, name: str) -> list[str]:
        """The names of a step's elements: the step itself when it has no list; none before the list is known."""
        if self.plan.step(name).over is None:
            return [name]
        return [element_of(name, index) for index in range(self.fan_outs.get(name, 0))]

    @property
    def done(self) -> set[str]:
        """The steps and elements that are done or were skipped."""
        done = {name for name, step in self.steps.items() if step.status in DONE}
        return done.union(name for name in self.fan_outs if self.is_done(name)) if self.fan_outs else done

    def is_done(self, name: str) -> bool:
        """Whether a step is done or was skipped, with all its elements."""
        if self.step(name).status in DONE:
            return True
        return name in self.fan_outs and all(self.step(element).status in DONE for element in self.elements(name))

    def result(self, name: str) -> Any:
        """The result of a step: a list for a step that is done over a list; None where no answer came."""
        if self.plan.step(name).over is None or index_of(name) is not None:
            return self.step(name).result
        return [self.step(element).result for element in self.elements(name)] if name in self.fan_outs else None

    def known_to(self, name: str) -> dict[str, Any]:
        """The values that a step or element can ask for by name: its input, and the result of each step."""
        steps = self.steps
        own = steps[name].input if name in steps else None
        if not self.fan_outs:  # then no result has to be put together from elements
            given = {"input": self.input if own is None else own, **self.plan.no_results}
            for known, step in steps.items():
                if known in self.plan.no_results:
                    given[known] = step.result
            return given
        input_ = own if own is not None else self.step(step_of(name)).input
        given = {"input": self.input if input_ is None else input_}
        return given | {step.name: self.result(step.name) for step in self.plan.steps}

    @property
    def results(self) -> dict[str, Any]:
        """The results of the completed steps, by step."""
        if not self.fan_outs:  # then each step is one, and has its result
            steps, done = self.steps, StepStatus.COMPLETED
            return {
                step.name: steps[step.name].result
                for step in self.plan.steps
                if step.name in steps and steps[step.name].status is done
            }
        names = (step.name for step in self.plan.steps if self.is_done(step.name))
        return {name: self.result(name) for name in names if self.step(name).status is not StepStatus.SKIPPED}

    @property
    def in_flight(self) -> bool:
        """Whether the answer of some step will come without a person."""
        return any(step.in_flight for step in self.steps.values())

    @property
    def beyond_return(self) -> bool:
        """Whether the saga can only go forward, because the pivot was called."""
        called = {StepStatus.IN_PROGRESS, *DONE}
        return any(step.kind == "pivot" and self.step(step.name).status in called for step in self.plan.steps)

    @property
    def current_step_index(self) -> int:
        """The place (0-based) of the step that runs, failed, or comes next; the number of steps when all are done."""
        if self.failed_step is not None:
            failed = step_of(self.failed_step)
            return next(i for i, step in enumerate(self.plan.steps) if step.name == failed)
        return sum(self.is_done(step.name) for step in self.plan.steps)


def open_intents(state: SagaState) -> list[e.Intent]:
    """The intents without an outcome: the calls to make again, the timers to set again.

    A paused saga has none.
    """
    if state.status.ended or state.paused:
        return []
    intents = (_open_intent(state, name, step) for name, step in state.steps.items())
    return [intent for intent in intents if intent is not None]


def direction_of(intent: e.Intent) -> Direction:
    """Which of a step's calls an intent is about."""
    match intent:
        case e.CompensationStarted() | e.CompensationFailed():
            return Direction.COMPENSATION
        case e.ProbeStarted():
            return Direction.PROBE
        case _:
            return Direction.ACTION


def _open_intent(state: SagaState, name: str, step: StepState) -> e.Intent | None:  # noqa: PLR0911 (a table)
    if step.probing:
        return e.ProbeStarted(name, step.attempts)
    if step.waiting is not None:
        return step.waiting
    match step.status:
        case StepStatus.IN_PROGRESS if step.wait is not None:
            return step.wait
        case StepStatus.IN_PROGRESS if step.child is not None:
            return step.child
        case StepStatus.IN_PROGRESS if step.probed or (step.interrupted and state.plan.step(name).probe):
            return None  # a probe comes first, or was just answered
        case StepStatus.IN_PROGRESS:
            return e.StepStarted(name, step.attempts)
        case StepStatus.COMPENSATING if not step.stuck:
            return e.CompensationStarted(name, step.compensation_attempts)
        case _:
            return None


def only_waits(state: SagaState, now: datetime) -> bool:
    """Whether the saga has nothing to do now: it waits for a time, a signal, or for a person to resume it."""
    if state.paused or state.status.ended:
        return True
    if state.deadline_at is not None and state.deadline_at <= now:
        return False
    if state.status is SagaStatus.PENDING:
        return state.starts_at is not None and state.starts_at > now
    open_ = [step for step in state.steps.values() if step.wait or step.waiting]
    return (
        bool(open_)
        and not any(map(_has_more_to_do, state.steps.values()))
        and not any(step.wait and state.signals.get(name) for name, step in state.steps.items())
        and all(_is_later(step, now) for step in open_)
    )


def expires(state: SagaState, now: datetime) -> bool:
    """Whether the saga ends without a single call: its deadline passed before it began."""
    has_passed = state.deadline_at is not None and state.deadline_at <= now
    return state.status is SagaStatus.PENDING and state.paused is None and has_passed


def _has_more_to_do(step: StepState) -> bool:
    """Whether the step is in flight, or a call follows at once. A step that a probe found done has nothing to do."""
    is_called_next = step.probed and step.status is StepStatus.IN_PROGRESS
    return step.in_flight or step.interrupted or is_called_next


def _is_later(step: StepState, now: datetime) -> bool:
    until = step.waiting.retry_at if step.waiting else step.wait.until if step.wait else None
    return until is None or until > now


# ── Payloads ─────────────────────────────────────────────────────────────────────────────────────────────


def without_payloads(state: SagaState) -> SagaState:
    """The state without inputs, results and signals: enough to know what the saga waits for, not to decide."""
    steps = {name: _without_payloads(step) for name, step in state.steps.items()}
    return replace(state, input={}, signals={}, steps=steps)


def _without_payloads(step: StepState) -> StepState:
    child = step.child and replace(step.child, input={})
    return replace(step, result=None, input=None, child=child)


def payload_size(state: SagaState) -> int:
    """The bytes of JSON of the inputs, results and signals."""
    steps = state.steps.values()
    payloads = [(step.result, step.input, step.child and step.child.input) for step in steps]
    return len(msgspec.json.encode([state.input, state.signals, payloads]))


def is_same_start(state: SagaState, saga: str, input_: object) -> bool:
    """Whether a start asks for the saga that exists. Inputs are compared as JSON: `true` is not 1."""
    return state.plan.saga == saga and _canonical(state.input) == _canonical(input_)


def digest(payload: object) -> str:
    """What tells one payload from another; payloads are compared as JSON, as inputs are."""
    return sha256(_canonical(payload)).hexdigest()


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
