"""The events of a batch of commands: one command for many sagas. Each batch has a stream of its own in the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from saga_es.core.access import Scope
from saga_es.core.commands import Cancel, Command, Fail, Pause, Resolve, Resume, Retry, Skip


class BatchStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person gave one command for many sagas.

    Attributes:
        command: Its name, such as `retry`.
        saga_ids: The sagas, in the order in which they get it: those that could follow it when the batch began.
        filter: What the person asked for; only for people to read, the sagas are chosen.
        about: What the command needs beside actor and reason: `step`, `status`.
        pace: Sagas a second.
        stops_after: The batch stops by itself when so many of its sagas have failed again; None: it does not.
        on_behalf_of: Whom the actor names, who had to be known.
        scope: The sagas that the actor may see; None: all.
    """

    command: str
    saga_ids: tuple[str, ...]
    filter: dict[str, Any]
    actor: str
    reason: str
    pace: float
    about: dict[str, str] = {}
    stops_after: int | None = None
    on_behalf_of: str | None = None
    scope: Scope | None = None


class BatchTaken(msgspec.Struct, frozen=True):
    """A worker gives the commands from now on."""

    worker: str


class BatchAdvanced(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first sagas of the batch have been dealt with.

    Attributes:
        upto: How many of them.
        left_alone: Those of the last stretch that could not follow the command any more, and why.
        is_last: Whether the batch has ended.
    """

    upto: int
    left_alone: dict[str, str] = {}
    is_last: bool = False


class BatchStopped(msgspec.Struct, frozen=True):
    """The rest of the sagas do not get the command."""

    actor: str
    reason: str


BatchEvent = BatchStarted | BatchTaken | BatchAdvanced | BatchStopped
"""The closed union of the events in a batch's stream."""


class BatchState(msgspec.Struct, frozen=True):
    """A batch as its events say it is.

    Attributes:
        upto: How many of its sagas have been dealt with.
        left_alone: Those among them that did not get the command, and why.
        stopped: By whom it was stopped, and why.
    """

    started: BatchStarted
    started_at: datetime
    version: int
    updated_at: datetime
    owner: str | None = None
    upto: int = 0
    left_alone: Mapping[str, str] = {}
    stopped: BatchStopped | None = None

    @property
    def is_over(self) -> bool:
        """Whether no other saga gets the command."""
        return self.stopped is not None or self.upto >= len(self.started.saga_ids)

    @property
    def status(self) -> str:
        """`running`, `stopped` or `ended`."""
        return "stopped" if self.stopped is not None else "ended" if self.is_over else "running"

    @property
    def given(self) -> list[str]:
        """The sagas that got the command."""
        return [saga_id for saga_id in self.started.saga_ids[: self.upto] if saga_id not in self.left_alone]


def folded(events: Iterable[tuple[datetime, BatchEvent]]) -> BatchState | None:
    """The batch after its events; None when there are none."""
    state: BatchState | None = None
    for at, event in events:
        if isinstance(event, BatchStarted):
            state = BatchState(event, at, 1, at)
        elif state is not None:
            state = replace(_after(state, event), version=state.version + 1, updated_at=at)
    return state


def _after(state: BatchState, event: BatchTaken | BatchAdvanced | BatchStopped) -> BatchState:
    match event:
        case BatchTaken(worker):
            return replace(state, owner=worker)
        case BatchAdvanced(upto, left_alone):
            return replace(state, upto=upto, left_alone={**state.left_alone, **left_alone})
        case BatchStopped():
            return replace(state, stopped=event)
        case _:
            assert_never(event)


# ── The command ──────────────────────────────────────────────────────────────────────────────────────────

COMMANDS = ("retry", "resume", "pause", "cancel", "skip", "fail", "resolve")
"""The commands that a batch can give."""

NEEDS: Mapping[str, tuple[str, ...]] = {"skip": ("step",), "resolve": ("status",)}
"""What a command needs, or takes, beside actor and reason."""


def mark(batch_id: str) -> str:
    """What stands in the reason of each command of a batch: a batch that goes on after a kill finds what it gave."""
    return f"[batch {batch_id}]"


def command_of(started: BatchStarted, batch_id: str) -> Command:  # noqa: PLR0911 (a table: one case a command)
    """The command that each saga of a batch gets."""
    about, reason = started.about, f"{started.reason} {mark(batch_id)}"
    by: dict[str, Any] = {"actor": started.actor, "reason": reason, "on_behalf_of": started.on_behalf_of}
    match started.command:
        case "retry":
            return Retry(**by)
        case "resume":
            return Resume(**by)
        case "pause":
            return Pause(**by)
        case "cancel":
            return Cancel(**by)
        case "skip":
            return Skip(about.get("step", ""), **by)
        case "fail":
            return Fail(**by)
        case _:
            return Resolve(status=about.get("status"), **by)  # type: ignore[arg-type]  # checked where it comes in
