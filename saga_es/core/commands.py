"""Commands: what may be asked of a saga that exists, by people, other sagas and services. Events of them are stored."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Cancel(msgspec.Struct, frozen=True):
    """Abort: compensate what was done."""

    actor: str
    reason: str


class Pause(msgspec.Struct, frozen=True):
    """Begin nothing more until somebody resumes it."""

    actor: str
    reason: str


class Resume(msgspec.Struct, frozen=True):
    """Go on after a pause."""

    actor: str
    reason: str


class Retry(msgspec.Struct, frozen=True):
    """Try now what waits to be tried again; of a FAILED saga, what was given up."""

    actor: str
    reason: str


class Skip(msgspec.Struct, frozen=True):
    """Of a FAILED saga: take this step, or its compensation, for done."""

    step: str
    actor: str
    reason: str


class ReplaceInput(msgspec.Struct, frozen=True):
    """Of a FAILED saga: give this step another input, and try it again."""

    step: str
    input: dict[str, Any]
    actor: str
    reason: str


class Resolve(msgspec.Struct, frozen=True):
    """Of a FAILED saga: a person has set it right by hand, and this is how it ended."""

    actor: str
    reason: str
    status: Literal["COMPLETED", "COMPENSATED"] | None = None


class SendSignal(msgspec.Struct, frozen=True):
    """Give a signal; the same key twice is one signal."""

    signal: str
    payload: Any = None
    key: str | None = None


class Revoke(msgspec.Struct, frozen=True):
    """The saga this one is a part of aborts: compensate everything, also after the end."""

    actor: str
    reason: str


Command = Cancel | Pause | Resume | Retry | Skip | ReplaceInput | Resolve | SendSignal | Revoke
