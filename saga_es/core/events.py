"""The events of a saga: everything that can ever be known about it, as facts in the past tense.

The name of a class is its storage format, and so are the names of its fields: what is written here is read
for ever. Two kinds stand out. An *intent* says that a call is about to be made, and is committed before it
(`StepStarted`, `CompensationStarted`); a failure with a `retry_at` says that a timer was set. After a crash,
the intents without an outcome are exactly what has to be done again.
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
    """A saga began. Without a worker it waits until one takes it."""

    saga: str
    plan_id: str
    input: dict[str, Any]
    worker: str | None = None


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


class StepFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt at the action failed; it is tried again at `retry_at`, or given up when that is None."""

    step: str
    attempt: int
    failure: Failure
    error: str
    retry_at: datetime | None = None


class SagaAborted(msgspec.Struct, frozen=True):
    """The saga turned round: nothing more goes forward, what happened or may have is compensated."""

    step: str
    error: str


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


class SagaCompleted(msgspec.Struct, frozen=True):
    """The end: every step was done."""


class SagaCompensated(msgspec.Struct, frozen=True):
    """The end: everything that was done is undone."""


class SagaFailed(msgspec.Struct, frozen=True):
    """The end without a person: the reason says what is in the way."""

    reason: str


SagaEvent = (
    SagaStarted
    | SagaTakenOver
    | StepStarted
    | StepCompleted
    | StepFailed
    | SagaAborted
    | CompensationStarted
    | CompensationCompleted
    | CompensationFailed
    | SagaCompleted
    | SagaCompensated
    | SagaFailed
)
"""The closed union of what the stream of a saga holds."""

Intent = StepStarted | CompensationStarted | StepFailed | CompensationFailed
"""The events the shell acts on once they are committed: a call to make, or a timer to set."""
