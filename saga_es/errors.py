"""Every error saga_es raises, in one tree.

Each error keeps its facts as attributes; its message carries the numbers and the cure. Two of them are not
faults but answers: a step function raises `StepRejected` or `StepUnavailable` to say how its call ended.

One rule for names: an error is named by what is the case (`NotFound`, `CommandRefused`, `VersionConflict`). Three stand
for a whole family and end in Error: `SagaError` for all, `DefinitionError` for a saga that is written wrongly,
`SettingsError` for settings.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BadBundle",
    "BadKey",
    "BadSeal",
    "BadStart",
    "BadStreamId",
    "BadTags",
    "CannotServe",
    "CommandRefused",
    "DefinitionError",
    "EngineStopped",
    "ImportRefused",
    "MigrationDenied",
    "NoSuchPosition",
    "NoSuchVersion",
    "NotFound",
    "NotMigrated",
    "NotOnStandby",
    "NothingToAppend",
    "PayloadTooLarge",
    "PayloadUnencodable",
    "ProjectionFailed",
    "RolledBack",
    "SagaArchived",
    "SagaError",
    "SagaExists",
    "SettingsError",
    "StepRejected",
    "StepUnavailable",
    "StoreUnavailable",
    "TooMuchPast",
    "UnreadableEvent",
    "VersionConflict",
]


class SagaError(Exception):
    """Anything saga_es raises on purpose."""


# ── What a step says by raising ──────────────────────────────────────────────────────────────────────────


class StepRejected(SagaError):
    """Raised by a step: refused for good, nothing was done. The saga compensates."""


class StepUnavailable(SagaError):
    """Raised by a step: not now, nothing was done. The saga tries again later.

    Args:
        message: Why, in words a person can read.
        retry_after_s: Seconds the participant asked us to wait; a longer back-off of our own wins.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


# ── Mistakes in code and settings ────────────────────────────────────────────────────────────────────────


class DefinitionError(SagaError):
    """A saga is written wrongly; raised while it is being built, never while it runs."""


class CannotServe(SagaError):
    """The address is taken, or is none of this machine's."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"cannot serve on {host}:{port}: {why}; choose another with --host and --port")
        self.host = host
        self.port = port


class SettingsError(SagaError):
    """One or more settings are wrong; all of them are reported at once.

    Attributes:
        problems: One line for each bad setting.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("bad settings:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


# ── What a caller can meet ───────────────────────────────────────────────────────────────────────────────


class NotFound(SagaError):
    """No saga has this id."""

    def __init__(self, saga_id: str) -> None:
        super().__init__(f"no saga has the id {saga_id!r}")
        self.saga_id = saga_id


class SagaArchived(SagaError):
    """The saga ran, has ended, and was taken out of the log since."""

    def __init__(self, saga_id: str, archive: str) -> None:
        super().__init__(
            f"saga {saga_id} has ended and is archived in {archive}; `saga-es import {archive}` brings it back"
        )
        self.saga_id = saga_id
        self.archive = archive


class BadBundle(SagaError):
    """A file that is no bundle of events, or not whole, or changed."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class ImportRefused(SagaError):
    """What a bundle holds does not go into this log."""

    def __init__(self, stream_id: str, why: str) -> None:
        super().__init__(f"{stream_id} is not imported: {why}")
        self.stream_id = stream_id
        self.why = why


class NoSuchVersion(SagaError):
    """The saga has not come so far."""

    def __init__(self, saga_id: str, version: int, last: int) -> None:
        super().__init__(f"saga {saga_id} has {last} events; there is no version {version} of it")
        self.saga_id = saga_id
        self.version = version
        self.last = last


class NoSuchPosition(SagaError):
    """The log has not come so far."""

    def __init__(self, position: int, last: int) -> None:
        super().__init__(f"the log ends at position {last}; there is no position {position} in it")
        self.position = position
        self.last = last


class TooMuchPast(SagaError):
    """To show the views as they were would take more events than may be folded for an answer."""

    def __init__(self, position: int, most_events: int) -> None:
        super().__init__(
            f"the log holds more than {most_events} events up to position {position}, and no more are folded for one "
            f"answer; `saga-es list --at {position}` has no such limit"
        )
        self.position = position
        self.most_events = most_events


class SagaExists(SagaError):
    """A saga with this id or key was already started, with another input."""

    def __init__(self, saga_id: str) -> None:
        super().__init__(
            f"saga {saga_id} was already started with another input; "
            "use a new id or key for new work, or repeat the first input to get the first answer"
        )
        self.saga_id = saga_id


class CommandRefused(SagaError):
    """The saga cannot do what was asked of it, as it is now; nothing was recorded."""

    def __init__(self, saga_id: str, why: str) -> None:
        super().__init__(f"saga {saga_id} cannot do that: {why}")
        self.saga_id = saga_id
        self.why = why


class VersionConflict(SagaError):
    """The stream is not at the version that was expected: somebody appended first. Read it again and decide again."""

    def __init__(self, stream_id: str, expected_version: int) -> None:
        super().__init__(f"stream {stream_id} is not at version {expected_version}; read it again and decide again")
        self.stream_id = stream_id
        self.expected_version = expected_version


class BadStreamId(SagaError, ValueError):
    """An id that the log does not take."""

    def __init__(self, stream_id: str, limit: int) -> None:
        super().__init__(
            f"an id has 1 to {limit} characters, without NUL and unpaired surrogates; "
            f"this one has {len(stream_id)}: {stream_id!a:.80}"
        )
        self.stream_id = stream_id


class BadTags(SagaError, ValueError):
    """Tags that a saga cannot be found by."""


class BadStart(SagaError, ValueError):
    """A saga was asked for in a way that cannot be meant."""


class NothingToAppend(SagaError, ValueError):
    """An append without events."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"an append to {stream_id!a} without events does nothing; leave it out")
        self.stream_id = stream_id


class PayloadTooLarge(SagaError):
    """An event would be larger than the log takes; nothing was appended."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the payload is {size} bytes of JSON, the limit is {limit}; store a reference instead")
        self.size = size
        self.limit = limit


class PayloadUnencodable(SagaError):
    """A value cannot be written as JSON; nothing was appended."""


class ProjectionFailed(SagaError):
    """The function of a view failed on an event, or the database does not take what it made of it.

    Attributes:
        position: Where the event stands in the log; None when it does not stand there yet.
    """

    def __init__(
        self, view: str, stream_id: str, version: int, event_type: str, why: str, position: int | None = None
    ) -> None:
        where = f"{stream_id}@{version}" if position is None else f"{stream_id}@{version}, position {position}"
        super().__init__(f"the view {view!r} failed on the event {event_type} ({where}): {why}")
        self.view = view
        self.stream_id = stream_id
        self.version = version
        self.event_type = event_type
        self.why = why
        self.position = position

    def named(self, view: str, position: int) -> ProjectionFailed:
        """The same, of a view of that name and an event at that position."""
        return ProjectionFailed(view, self.stream_id, self.version, self.event_type, self.why, position)


# ── What the database can do to us ───────────────────────────────────────────────────────────────────────


class StoreUnavailable(SagaError):
    """The database did not answer, or refused; the work is kept and goes on when it is back."""


class EngineStopped(StoreUnavailable):
    """The engine of this process stops, or has stopped; what is in the log goes on with the next worker."""


class NotMigrated(SagaError):
    """The database answers but has not the tables of this version."""

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"the database is at migration {found or 'none'}, this version needs {wanted}; run `saga-es db upgrade`"
        )
        self.found = found
        self.wanted = wanted


class MigrationDenied(NotMigrated):
    """The database has not the tables of this version, and who we connect as may not make them."""

    def __init__(self, found: str | None, wanted: str, why: str) -> None:
        super().__init__(found, wanted)
        self.args = (f"{self.args[0]} as the owner of the tables, then `saga-es db grants`: {why}",)


class NotOnStandby(StoreUnavailable):
    """A transaction was committed, but perhaps not on the standby that it was to wait for."""

    def __init__(self, warning: str) -> None:
        super().__init__(f"committed, but perhaps not on the standby: {warning}")


class RolledBack(StoreUnavailable):
    """The database gave a transaction up for the sake of another (deadlock, serialization): nothing took place."""


class Denied(StoreUnavailable):
    """Who we connect as may not do that."""


class UnreadableEvent(SagaError):
    """An event in the log cannot be decoded: written by a newer version, or its class is gone."""

    def __init__(self, category: str, event_type: str, why: str) -> None:
        super().__init__(f"cannot read an event of type {event_type!r} in category {category!r}: {why}")
        self.category = category
        self.event_type = event_type
        self.why = why


# ── Seals ────────────────────────────────────────────────────────────────────────────────────────────────


class BadKey(SagaError):
    """A key cannot be used, or made."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"key {path}: {why}")
        self.path = path
        self.why = why


class BadSeal(SagaError):
    """A seal is not what was signed."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"seal {path}: {why}")
        self.path = path
        self.why = why
