"""The events of a saga: everything that is known about it, in the past tense.

The names of the classes and of their fields are the storage format: the log is read for ever. Two kinds of event make
the shell act. An *intent* says that a call is about to be made, and is committed before the call (`StepStarted`,
`CompensationStarted`, `ProbeStarted`, `ChildStarted`). A wait, or a failure with a `retry_at`, says that a timer was
set. After a crash, the intents without an outcome are exactly the work to do again.

The event of a person's command carries the actor and the reason; `on_behalf_of` is whom an authenticated actor names.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from saga_es.core.access import Starter
from saga_es.core.plan import Plan
from saga_es.core.trace import Trace

Failure = Literal["rejected", "unavailable", "unknown"]
"""How a call failed: refused for good / not now / it is unknown whether it happened."""


class PlanRecorded(msgspec.Struct, frozen=True):
    """A version of a definition was used for the first time; the id of its stream is the plan's id."""

    plan: Plan


class SagaImported(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person brought a saga into the log from a file. It stands in a stream beside the saga's, which stays as it was.

    Attributes:
        version: The last version of the saga in the file; `hash` is its hash.
        file: The name of the file.
        sha256: The SHA-256 of the file.
        foreign: Whether the saga is from another log; otherwise an archive of this log held it.
    """

    saga_id: str
    version: int
    hash: str
    file: str
    sha256: str
    actor: str
    reason: str | None = None
    foreign: bool = False


class SagaStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A caller started the saga. Without a worker it waits for one; with `starts_at` it waits until then.

    Its spans, and those of its children, belong to `trace`.
    `by` is the principal that started it, if it had to be known. What is secret is encrypted under `key`, if there is
    one.
    """

    saga: str
    plan_id: str
    input: dict[str, Any]
    worker: str | None = None
    tags: dict[str, str] = {}
    starts_at: datetime | None = None
    deadline_at: datetime | None = None
    parent: str | None = None
    trace: Trace | None = None
    by: Starter | None = None
    key: str | None = None


class SagaBegan(msgspec.Struct, frozen=True):
    """The saga, which had waited for a worker or for its time, goes forward."""


class SagaTakenOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker became the owner, because the previous owner (None: there was none) is gone."""

    worker: str
    previous: str | None = None


class SagaReleased(msgspec.Struct, frozen=True):
    """The owner let go of the saga, because it lacks code: the saga waits for a worker that has it."""

    worker: str
    reason: str


class StepStarted(msgspec.Struct, frozen=True):
    """Intent: the step's action is about to be called; attempts count from 1."""

    step: str
    attempt: int


class StepCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The action succeeded with this result."""

    step: str
    result: Any = None


class StepSkipped(msgspec.Struct, frozen=True, omit_defaults=True):
    """The step was left out: its condition does not hold, or a person skipped it."""

    step: str
    actor: str | None = None
    reason: str | None = None
    on_behalf_of: str | None = None


class StepFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt at the action failed; it is tried again at `retry_at`, or given up when `retry_at` is None.

    With `last` no attempt follows: a probe asks at `retry_at` whether the action has happened. `frame` says where the
    application's code raised an exception.
    """

    step: str
    attempt: int
    failure: Failure
    error: str
    retry_at: datetime | None = None
    last: bool = False
    frame: str | None = None


class StepProgressed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call of the step said that it goes on, with these details; what it says too soon after is not recorded."""

    step: str
    attempt: int
    direction: Literal["action", "compensation", "probe"] = "action"
    details: Any = None


class StepFannedOut(msgspec.Struct, frozen=True):
    """The step is done for each element of a list, as `step[0]` to `step[size - 1]`."""

    step: str
    size: int


class WaitStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The step waits, at most until this time; for ever when `until` is None."""

    step: str
    until: datetime | None = None


class SignalReceived(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal was received; it is kept until a step waits for it."""

    signal: str
    payload: Any = None
    key: str | None = None
    actor: str | None = None


class ChildStarted(msgspec.Struct, frozen=True):
    """Intent: the child saga of the step is about to be started."""

    step: str
    saga: str
    saga_id: str
    input: dict[str, Any]


class ProbeStarted(msgspec.Struct, frozen=True):
    """Intent: a probe is about to ask whether this attempt has happened."""

    step: str
    attempt: int


class ProbeAnswered(msgspec.Struct, frozen=True, omit_defaults=True):
    """The action has happened, with this result; it has not and never will; or (None) that is unknown."""

    step: str
    happened: bool | None = None
    result: Any = None
    error: str | None = None


class SagaAborted(msgspec.Struct, frozen=True):
    """The saga aborted: no step goes forward any more; each step that happened, or may have, is compensated.

    `step` is the step that failed; None when the deadline passed.
    """

    step: str | None
    error: str


class SagaCancelled(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person, a service or the parent saga aborted the saga."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class CompensationStarted(msgspec.Struct, frozen=True):
    """Intent: the step's compensation is about to be called; attempts count from 1, apart from the action's."""

    step: str
    attempt: int


class CompensationCompleted(msgspec.Struct, frozen=True):
    """The step's effect is undone, or it is certain that there never will be one."""

    step: str


class CompensationFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt at the compensation failed; it is tried again at `retry_at`, or given up when `retry_at` is None."""

    step: str
    attempt: int
    failure: Failure
    error: str
    retry_at: datetime | None = None
    frame: str | None = None


class CompensationSkipped(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person marked the step as undone."""

    step: str
    actor: str
    reason: str
    on_behalf_of: str | None = None


class SagaPaused(msgspec.Struct, frozen=True, omit_defaults=True):
    """The saga begins nothing more until it is resumed; the answers of calls in flight are recorded."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class SagaResumed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person ended the pause."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class RetryOrdered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person retried the saga: every wait for a retry ends at `at`."""

    actor: str
    reason: str
    at: datetime
    on_behalf_of: str | None = None


class InputReplaced(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person gave the step another `input`, from now on."""

    step: str
    input: dict[str, Any]
    actor: str
    reason: str
    on_behalf_of: str | None = None


class SagaMigrated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person moved the saga to another plan of its definition: what has begun stays, the rest follows that plan.

    `renamed` has the present name of each step that was renamed, by its name before; `current` is the step that began
    last.
    """

    plan_id: str
    plan: Plan
    actor: str
    reason: str
    renamed: dict[str, str] = {}
    current: str | None = None
    on_behalf_of: str | None = None


class SagaReopened(msgspec.Struct, frozen=True, omit_defaults=True):
    """A saga that had ended goes on, on any worker; steps that were given up are tried again at `at`.

    `error` says why the saga aborted; None when it goes forward.
    """

    status: Literal["IN_PROGRESS", "COMPENSATING"]
    actor: str
    reason: str
    at: datetime
    error: str | None = None
    on_behalf_of: str | None = None


class SagaResolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end by hand: a person solved the problem, and says how the saga ended."""

    status: Literal["COMPLETED", "COMPENSATED"]
    actor: str
    reason: str
    on_behalf_of: str | None = None


class SagaCompleted(msgspec.Struct, frozen=True):
    """The end: every step was done."""


class SagaCompensated(msgspec.Struct, frozen=True):
    """The end: everything that was done is undone."""


class SagaFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end until a person acts: the reason says what blocks the saga.

    Attributes:
        actor: Who gave the saga up; None: nobody did, it could not go on.
    """

    reason: str
    actor: str | None = None
    on_behalf_of: str | None = None


SagaEvent = (
    SagaStarted
    | SagaTakenOver
    | SagaReleased
    | SagaBegan
    | StepStarted
    | StepCompleted
    | StepSkipped
    | StepFailed
    | StepProgressed
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
    | SagaMigrated
    | SagaReopened
    | SagaResolved
    | SagaCompleted
    | SagaCompensated
    | SagaFailed
)
"""The closed union of the events in a saga's stream."""

Intent = StepStarted | CompensationStarted | ProbeStarted | ChildStarted | StepFailed | CompensationFailed | WaitStarted
"""The events that make the shell act once they are committed: it makes a call, or sets a timer."""
