"""The state of a saga: what the fold of its events (`evolve`) comes to, and what can be read from it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from saga_es.core import events as e
from saga_es.core.plan import Plan, index_of, part_of, step_of


class SagaStatus(StrEnum):
    """Where a saga is, in the words of the wire."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """True when nothing more happens by itself."""
        return self in ENDED


ENDED = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED})
UNFINISHED = frozenset(SagaStatus) - ENDED


class StepStatus(StrEnum):
    """Where a step is, in the words of the wire."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"


DONE = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})


class StepState(msgspec.Struct, frozen=True):
    """One step, or one part of a step that is done over a list.

    Its two counters never share: compensation starts from 1 however often the action was tried.

    Attributes:
        forgiven: Attempts that the policy does not count, for a person ordered more.
        waiting: The failure whose `retry_at` is being waited for; None while a call is out, or none is wanted.
        wait: What a step that only waits is waiting for.
        child: The saga that it runs.
        probing: A probe is out.
        probed: A probe did not say that it has happened, and is not asked again before the next attempt.
        in_doubt: Some attempt ended unknown, so the effect may be there although no answer said so.
        interrupted: Its call was out when the worker went, and nothing has come of it since.
        crashes: How often a worker went while its call was out, since the last outcome; pauses apart.
        stuck: Its compensation was given up.
        input: What it has been given instead of the saga's input.
    """

    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    compensation_attempts: int = 0
    forgiven: int = 0
    result: Any = None
    error: str | None = None
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

    @property
    def is_out(self) -> bool:
        """Whether an answer will come by itself: to a call, a probe, or from another saga."""
        if self.probing:
            return True
        going = self.status is StepStatus.IN_PROGRESS or (self.status is StepStatus.COMPENSATING and not self.stuck)
        return going and self.waiting is None and self.wait is None and not self.probed


NOT_STARTED = StepState()


class SagaState(msgspec.Struct, frozen=True):
    """One saga.

    Attributes:
        version: How many events were folded: the version of the stream.
        steps: The steps and parts that have started, by name.
        fan_outs: How many parts each step has that is done over a list, once that is known.
        effects: Steps and parts that happened or may have, and are not compensated: in order of completion.
        signals: What was given and is not used yet, by signal, first come first.
        signal_keys: The signals that came with a key, and the key.
        aborted: Whether the saga has aborted.
        failed_step: The step whose failure aborted it.
        cause: Why it aborted: what its compensations are told.
        error: Why it is FAILED; if it is not, why it aborted.
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
    signal_keys: frozenset[tuple[str, str]] = frozenset()
    paused: e.SagaPaused | None = None
    aborted: bool = False
    failed_step: str | None = None
    cause: str | None = None
    error: str | None = None

    def step(self, name: str) -> StepState:
        """The state of a step or part, also when it has not started."""
        return self.steps.get(name, NOT_STARTED)

    def parts(self, name: str) -> list[str]:
        """What a step consists of: itself, or a part for each element; nothing as long as the list is not known."""
        if self.plan.step(name).over is None:
            return [name]
        return [part_of(name, index) for index in range(self.fan_outs.get(name, 0))]

    @property
    def done(self) -> set[str]:
        """The steps, and the parts of steps, that are done or were skipped."""
        done = {name for name, step in self.steps.items() if step.status in DONE}
        return done.union(name for name in self.fan_outs if self.is_done(name)) if self.fan_outs else done

    def is_done(self, name: str) -> bool:
        """Whether a step is done, or was skipped, with all its parts."""
        if self.step(name).status in DONE:
            return True
        return name in self.fan_outs and all(self.step(part).status in DONE for part in self.parts(name))

    def result(self, name: str) -> Any:
        """What a step answered: of a step that is done over a list, a list; None where no answer came."""
        if self.plan.step(name).over is None or index_of(name) is not None:
            return self.step(name).result
        return [self.step(part).result for part in self.parts(name)] if name in self.fan_outs else None

    def known_to(self, name: str) -> dict[str, Any]:
        """What a step or part may ask for by name: its input, and what each step answered."""
        own = self.step(name).input
        input_ = own if own is not None else self.step(step_of(name)).input
        given = {"input": self.input if input_ is None else input_}
        steps = self.steps
        if not self.fan_outs:  # then a step answered what it answered
            return given | {step.name: steps.get(step.name, NOT_STARTED).result for step in self.plan.steps}
        return given | {step.name: self.result(step.name) for step in self.plan.steps}

    @property
    def results(self) -> dict[str, Any]:
        """What the completed steps answered, by step."""
        done = (step.name for step in self.plan.steps if self.is_done(step.name))
        return {name: self.result(name) for name in done if self.step(name).status is not StepStatus.SKIPPED}

    @property
    def is_out(self) -> bool:
        """Whether some answer will come by itself."""
        return any(step.is_out for step in self.steps.values())

    @property
    def beyond_return(self) -> bool:
        """Whether the saga can only go forward: the pivot was called."""
        called = {StepStatus.IN_PROGRESS, *DONE}
        return any(step.kind == "pivot" and self.step(step.name).status in called for step in self.plan.steps)

    @property
    def current_step_index(self) -> int:
        """How many steps are done, going forward: the place (0-based) of the step that runs, failed, or comes next."""
        if self.failed_step is not None:
            failed = step_of(self.failed_step)
            return next(i for i, step in enumerate(self.plan.steps) if step.name == failed)
        return sum(self.is_done(step.name) for step in self.plan.steps)


def open_intents(state: SagaState) -> list[e.Intent]:
    """What the log says was begun and has no outcome: the calls to make again, the timers to set again.

    Nothing is, while the saga is paused.
    """
    if state.status.ended or state.paused:
        return []
    intents = (_open_intent(state, name, step) for name, step in state.steps.items())
    return [intent for intent in intents if intent is not None]


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
            return None  # it is asked first whether it has happened, or just was
        case StepStatus.IN_PROGRESS:
            return e.StepStarted(name, step.attempts)
        case StepStatus.COMPENSATING if not step.stuck:
            return e.CompensationStarted(name, step.compensation_attempts)
        case _:
            return None


def is_same_start(state: SagaState, saga: str, input_: object) -> bool:
    """Whether a saga that exists is the one a start asks for. Inputs are compared as JSON: `true` is not 1."""
    return state.plan.saga == saga and _canonical(state.input) == _canonical(input_)


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
