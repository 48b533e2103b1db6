"""Commands: requests to a saga that exists, by people, sagas and services. A command is stored as its event.

The actor gives the command. `on_behalf_of` is whom an actor that had to be known names in its request.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from saga_es.core.outcomes import Completed, Direction, Failed
from saga_es.core.plan import Plan


class Cancel(msgspec.Struct, frozen=True):
    """Abort the saga and compensate what was done."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class Pause(msgspec.Struct, frozen=True):
    """Begin nothing more until a person resumes the saga."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class Resume(msgspec.Struct, frozen=True):
    """Go on after a pause."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class Retry(msgspec.Struct, frozen=True):
    """Retry now instead of later; in a FAILED saga, retry what was given up."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class Skip(msgspec.Struct, frozen=True):
    """In a FAILED saga, count this step, or its compensation, as done."""

    step: str
    actor: str
    reason: str
    on_behalf_of: str | None = None


class ReplaceInput(msgspec.Struct, frozen=True):
    """In a FAILED saga, give this step another input and retry it."""

    step: str
    input: dict[str, Any]
    actor: str
    reason: str
    on_behalf_of: str | None = None


class Fail(msgspec.Struct, frozen=True):
    """Give the saga up as it stands: it is FAILED, nothing more is called, and a person decides what becomes of it."""

    actor: str
    reason: str
    on_behalf_of: str | None = None


class Resolve(msgspec.Struct, frozen=True):
    """End a FAILED saga that a person has set right by hand."""

    actor: str
    reason: str
    status: Literal["COMPLETED", "COMPENSATED"] | None = None
    on_behalf_of: str | None = None


class Migrate(msgspec.Struct, frozen=True):
    """Go on under another plan of the same definition: what has begun stays, the rest follows that plan.

    Attributes:
        plan: The new plan; the log holds it under `plan_id` already.
        replaces: The new name of each step that was renamed, by its old name.
    """

    plan_id: str
    plan: Plan
    replaces: dict[str, str]
    actor: str
    reason: str
    on_behalf_of: str | None = None


class SendSignal(msgspec.Struct, frozen=True):
    """Send a signal; the same key twice is one signal."""

    signal: str
    payload: Any = None
    key: str | None = None
    actor: str | None = None


class Revoke(msgspec.Struct, frozen=True):
    """The parent saga aborts: compensate everything, also after the end."""

    actor: str
    reason: str


class Reply(msgspec.Struct, frozen=True):
    """A participant that took a call, and answered 202, tells what the call came to.

    Attributes:
        direction: Never a probe, which is answered at once.
        attempt: The attempt that it took. All have one key, so that an earlier one that is done is this one, too.
    """

    step: str
    direction: Direction
    attempt: int
    outcome: Completed | Failed


Command = Cancel | Pause | Resume | Retry | Skip | ReplaceInput | Fail | Resolve | Migrate | SendSignal | Revoke | Reply
