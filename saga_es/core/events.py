"""The events of a saga: everything that can ever be known about it, as facts in the past tense.

The name of a class is its storage format, and so are the names of its fields: what is written here is read
for ever. Two kinds stand out. An *intent* says that a call is about to be made, and is committed before it
(`StepStarted`, `CompensationStarted`, `ProbeStarted`, `ChildStarted`); a wait, or a failure with a `retry_at`,
says that a timer was set. After a crash, the intents without an outcome are exactly what has to be done again.

What a person ordered carries who it was and why.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from saga_es.core.plan import Plan

Failure = Literal["rejected", "unavailable", "unknown"]
"""How a call failed: refused for good / not now / nobody knows whether it happened."""


class PlanRecorded(msgspec.Struct, frozen=True):
    """A version of a definition was first used; its stream is named by the plan's id."""

    plan: Plan


class SagaStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody asked for the saga. Without a worker it waits until one takes it; with `starts_at`, until then."""

    saga: str
    plan_id: str
    input: dict[str, Any]
    worker: str | None = None
    tags: dict[str, str] = {}
    starts_at: datetime | None = None
    deadline_at: datetime | None = None
    parent: str | None = None


class SagaBegan(msgspec.Struct, frozen=True):
    """A saga that had waited for a worker, or for its time, goes forward."""


class SagaTakenOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker became the owner, because the one before (None: there was none) is gone."""

    worker: str
    previous: str | None = None


class StepStarted(msgspec.Struct, frozen=True):
    """Intent: the step's action is about to be called; attempts count from 1."""

    step: str
    attempt: int


class StepCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The action was done, and this is what it answered."""

    step: str
    result: Any = None


class StepSkipped(msgspec.Struct, frozen=True, omit_defaults=True):
    """The step was left out: its condition does not hold, or a person said so."""

    step: str
    actor: str | None = None
    reason: str | None = None


class StepFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt at the action failed; it is tried again at `retry_at`, or given up when that is None.

    With `last` no attempt follows: what is done at `retry_at` is to ask whether it has happened.
    """

    step: str
    attempt: int
    failure: Failure
    error: str
    retry_at: datetime | None = None
    last: bool = False


class StepFannedOut(msgspec.Struct, frozen=True):
    """The step is done for each element of a list, on its own: as `step[0]` up to `step[size - 1]`."""

    step: str
    size: int


class WaitStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The step waits, until then at the most; for ever when that is None."""

    step: str
    until: datetime | None = None


class SignalReceived(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody gave a signal; it is kept until a step waits for it."""

    signal: str
    payload: Any = None
    key: str | None = None


class ChildStarted(msgspec.Struct, frozen=True):
    """Intent: the saga that the step runs is about to be started."""

    step: str
    saga: str
    saga_id: str
    input: dict[str, Any]


class ProbeStarted(msgspec.Struct, frozen=True):
    """Intent: somebody is about to be asked whether this attempt has happened."""

    step: str
    attempt: int


class ProbeAnswered(msgspec.Struct, frozen=True, omit_defaults=True):
    """It has happened, with this result; it has not, and never will; or (None) that could not be told."""

    step: str
    happened: bool | None = None
    result: Any = None
    error: str | None = None


class SagaAborted(msgspec.Struct, frozen=True):
    """The saga aborted: nothing more goes forward, what happened or may have is compensated.

    The step is the one that failed; None when it was the deadline that passed.
    """

    step: str | None
    error: str


class SagaCancelled(msgspec.Struct, frozen=True):
    """Somebody aborted the saga."""

    actor: str
    reason: str


class CompensationStarted(msgspec.Struct, frozen=True):
    """Intent: the step's compensation is about to be called; attempts count from 1, apart from the action's."""

    step: str
    attempt: int


class CompensationCompleted(msgspec.Struct, frozen=True):
    """The step's effect is undone, or it is certain that it never will be there."""

    step: str


class CompensationFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt at the compensation failed; it is tried again at `retry_at`, or given up when that is None."""

    step: str
    attempt: int
    failure: Failure
    error: str
    retry_at: datetime | None = None


class CompensationSkipped(msgspec.Struct, frozen=True):
    """A person takes the step for undone."""

    step: str
    actor: str
    reason: str


class SagaPaused(msgspec.Struct, frozen=True):
    """Nothing more is begun until somebody resumes it; what is under way is heard."""

    actor: str
    reason: str


class SagaResumed(msgspec.Struct, frozen=True):
    """The pause is over."""

    actor: str
    reason: str


class RetryOrdered(msgspec.Struct, frozen=True):
    """Somebody did not want to wait: what was to be tried again later is tried again at `at`."""

    actor: str
    reason: str
    at: datetime


class InputReplaced(msgspec.Struct, frozen=True):
    """From now on, this is the step's `input`."""

    step: str
    input: dict[str, Any]
    actor: str
    reason: str


class SagaReopened(msgspec.Struct, frozen=True, omit_defaults=True):
    """A saga that had ended goes on, with any worker; what was given up is tried again at `at`.

    The error is why it aborted; None when it goes forward.
    """

    status: Literal["IN_PROGRESS", "COMPENSATING"]
    actor: str
    reason: str
    at: datetime
    error: str | None = None


class SagaResolved(msgspec.Struct, frozen=True):
    """The end by hand: a person has set right what was in the way, and says how the saga ended."""

    status: Literal["COMPLETED", "COMPENSATED"]
    actor: str
    reason: str


class SagaCompleted(msgspec.Struct, frozen=True):
    """The end: every step was done."""


class SagaCompensated(msgspec.Struct, frozen=True):
    """The end: everything that was done is undone."""


class SagaFailed(msgspec.Struct, frozen=True):
    """The end until a person does something: the reason says what is in the way."""

    reason: str


SagaEvent = (
    SagaStarted
    | SagaTakenOver
    | SagaBegan
    | StepStarted
    | StepCompleted
    | StepSkipped
    | StepFailed
    | StepFannedOut
    | WaitStarted
    | SignalReceived
    | ChildStarted
    | ProbeStarted
    | ProbeAnswered
    | SagaAborted
    | SagaCancelled
    | CompensationStarted
    | CompensationCompleted
    | CompensationFailed
    | CompensationSkipped
    | SagaPaused
    | SagaResumed
    | RetryOrdered
    | InputReplaced
    | SagaReopened
    | SagaResolved
    | SagaCompleted
    | SagaCompensated
    | SagaFailed
)
"""The closed union of what the stream of a saga holds."""

Intent = StepStarted | CompensationStarted | ProbeStarted | ChildStarted | StepFailed | CompensationFailed | WaitStarted
"""The events the shell acts on once they are committed: a call to make, or a timer to set."""
