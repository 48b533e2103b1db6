"""All errors that saga_es raises, in one tree.

Each error keeps its facts as attributes; its message gives the numbers and the cure. Two of the errors are answers, not
faults: a step function raises `StepRejected` or `StepUnavailable` to say how its call ended.

An error is named after the situation (`NotFound`, `CommandRefused`, `VersionConflict`). Three names stand for a family
and end in Error: `SagaError` for all, `DefinitionError` for mistakes in a definition, `SettingsError` for settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    "NotInstalled",
    "NotMigrated",
    "NotOnStandby",
    "NotOurs",
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
    "StillNeeded",
    "StoreUnavailable",
    "TooMuchPast",
    "UnknownTable",
    "UnreadableEvent",
    "VersionConflict",
]


class SagaError(Exception):
    """The base of all errors that saga_es raises on purpose."""


# ── Raised by steps ──────────────────────────────────────────────────────────────────────────────────────


class StepRejected(SagaError):
    """Raised by a step: the call is refused for good and nothing was done. The saga compensates."""


class StepUnavailable(SagaError):
    """Raised by a step: the call cannot be done now and nothing was done. The saga tries again later.

    Args:
        message: The reason, for people.
        retry_after_s: Seconds that the participant asks to wait; the longer of it and the back-off counts.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


# ── Mistakes in code and settings ────────────────────────────────────────────────────────────────────────


class DefinitionError(SagaError):
    """A mistake in a definition; raised while it is built, never while a saga runs."""


class CannotServe(SagaError):
    """The address is taken, or is not an address of this machine."""

    def __init__(self, host: str, port: int, why: str, flags: str = "--host and --port") -> None:
        super().__init__(f"cannot serve on {host}:{port}: {why}; choose another with {flags}")
        self.host = host
        self.port = port


class NotInstalled(SagaError, ImportError):
    """A package is not installed that only this purpose needs: it comes with an extra of saga-es.

    Attributes:
        extra: The extra.
    """

    def __init__(self, modules: Sequence[str], extra: str, purpose: str) -> None:
        said = f"{', '.join(modules)} {'is' if len(modules) == 1 else 'are'} not installed"
        super().__init__(f"{said}: install saga-es[{extra}] {purpose} (pip install 'saga-es[{extra}]')")
        self.extra = extra


class SettingsError(SagaError):
    """One or more settings are wrong; the error reports all of them at once.

    Attributes:
        problems: One line for each wrong setting.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("bad settings:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


# ── Raised to callers ────────────────────────────────────────────────────────────────────────────────────


class NotFound(SagaError):
    """No saga has this id."""

    def __init__(self, saga_id: str) -> None:
        super().__init__(f"no saga has the id {saga_id!r}")
        self.saga_id = saga_id


class SagaArchived(SagaError):
    """The saga has ended and was moved from the log to an archive."""

    def __init__(self, saga_id: str, archive: str) -> None:
        super().__init__(
            f"saga {saga_id} has ended and is archived in {archive}; `saga-es import {archive}` brings it back"
        )
        self.saga_id = saga_id
        self.archive = archive


class BadBundle(SagaError):
    """The file is not a bundle of events, is incomplete, or was changed."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class ImportRefused(SagaError):
    """The log does not accept a stream of the bundle."""

    def __init__(self, stream_id: str, why: str) -> None:
        super().__init__(f"{stream_id} is not imported: {why}")
        self.stream_id = stream_id
        self.why = why


class NoSuchVersion(SagaError):
    """The saga has fewer events than the version asks for."""

    def __init__(self, saga_id: str, version: int, last: int) -> None:
        super().__init__(f"saga {saga_id} has {last} events; there is no version {version} of it")
        self.saga_id = saga_id
        self.version = version
        self.last = last


class NoSuchPosition(SagaError):
    """The log ends before the position."""

    def __init__(self, position: int, last: int) -> None:
        super().__init__(f"the log ends at position {last}; there is no position {position} in it")
        self.position = position
        self.last = last


class TooMuchPast(SagaError):
    """The views at a past position need more events than one answer may fold."""

    def __init__(self, position: int, most_events: int) -> None:
        super().__init__(
            f"the log holds more than {most_events} events up to position {position}, the limit for one answer; "
            f"`saga-es list --at {position}` has no such limit"
        )
        self.position = position
        self.most_events = most_events


class SagaExists(SagaError):
    """A saga with this id or key was already started, with another input, or was imported: nobody started it here."""

    def __init__(self, saga_id: str, *, foreign: bool = False) -> None:
        why, cure = "was already started with another input", ", or repeat the first input to get the first answer"
        if foreign:
            why, cure = "was imported from another log, and answers no start here", ""
        super().__init__(f"saga {saga_id} {why}; use a new id or key for new work{cure}")
        self.saga_id = saga_id


class CommandRefused(SagaError):
    """The saga cannot follow the command in its present state, or its key is another's; nothing was recorded."""

    def __init__(self, saga_id: str, why: str, *, key_reused: bool = False) -> None:
        super().__init__(f"saga {saga_id} cannot do that: {why}")
        self.saga_id = saga_id
        self.why = why
        self.key_reused = key_reused


class VersionConflict(SagaError):
    """The stream is not at the expected version: another append came first. Read it again and decide again."""

    def __init__(self, stream_id: str, expected_version: int) -> None:
        super().__init__(f"stream {stream_id} is not at version {expected_version}; read it again and decide again")
        self.stream_id = stream_id
        self.expected_version = expected_version


class BadStreamId(SagaError, ValueError):
    """The log does not accept the id, or no URL can carry it."""

    def __init__(self, stream_id: str, limit: int, why: str | None = None) -> None:
        super().__init__(
            f"an id has 1 to {limit} characters, without NUL and unpaired surrogates; "
            f"this one has {len(stream_id)}: {stream_id!a:.80}"
            if why is None
            else f"the id {stream_id!a:.80} cannot stand in a URL, so that nobody could reach its saga over HTTP: {why}"
        )
        self.stream_id = stream_id


class BadTags(SagaError, ValueError):
    """The tags of a saga are invalid."""


class BadStart(SagaError, ValueError):
    """The arguments of a start contradict each other, or are invalid."""


class NothingToAppend(SagaError, ValueError):
    """An append had no events."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"an append to {stream_id!a} without events does nothing; leave it out")
        self.stream_id = stream_id


class PayloadTooLarge(SagaError):
    """An event is larger than the log accepts; nothing was appended."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the payload is {size} bytes of JSON, the limit is {limit}; store a reference instead")
        self.size = size
        self.limit = limit


class PayloadUnencodable(SagaError):
    """A value cannot be written as JSON; nothing was appended."""


class ProjectionFailed(SagaError):
    """The function of a view failed on an event, or the database refuses its result.

    Attributes:
        position: The event's position in the log; None when it has not been appended yet.
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
        """The same error, with the name of the view and the position of the event."""
        return ProjectionFailed(view, self.stream_id, self.version, self.event_type, self.why, position)


# ── Raised by the database ───────────────────────────────────────────────────────────────────────────────


class StoreUnavailable(SagaError):
    """The database did not answer, or refused; the work is kept and goes on when the database is back."""


class EngineStopped(StoreUnavailable):
    """The engine of this process is stopping or has stopped; another worker goes on with the sagas in the log."""


class EngineForked(EngineStopped):
    """This process was forked from the one that opened the engine. Threads are not inherited: nothing would run here.

    Open an engine in each process, after the fork.
    """

    def __init__(self) -> None:
        super().__init__(
            "this process was forked from the one that opened the engine, whose threads are not here; open an engine "
            "after the fork, in each process (gunicorn: without --preload, or in post_fork; uWSGI: lazy-apps=true, or "
            "uwsgidecorators.postfork; Celery: worker_process_init; multiprocessing: the spawn method)"
        )


class NotMigrated(SagaError):
    """The database answers, but has the tables of an older version, or of one that is too new for this process."""

    def __init__(self, found: str | None, wanted: str, instead: str = "") -> None:
        cure = "upgrade saga_es here" if found is not None and found > wanted else "run `saga-es db upgrade`"
        at = f"the database is at migration {found or 'none'}"
        super().__init__(f"{at}, {instead or f'this version needs {wanted}; {cure}'}")
        self.found = found
        self.wanted = wanted


class NotOurs(SagaError):
    """The database has something under a name of ours that saga_es did not make. Nothing was changed.

    Attributes:
        found: What it is, by name.
    """

    def __init__(self, found: Mapping[str, str]) -> None:
        shown = ", ".join(f"{name!r} ({what})" for name, what in found.items())
        are = "is" if len(found) == 1 else "are"
        super().__init__(
            f"{shown} {are} in the database, and saga_es did not make {'it' if len(found) == 1 else 'them'}; "
            "nothing was changed. Rename what is yours, or let the names of saga_es's tables begin with a prefix: "
            "--table-prefix / SAGA_ES_TABLE_PREFIX. If it is a table that saga_es made: "
            f"`saga-es db adopt {' '.join(found)}`"
        )
        self.found = dict(found)


class UnknownTable(SagaError):
    """A command names a table to which it does not apply."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the table {name!r}: {why}")
        self.name = name


class StillNeeded(NotMigrated):
    """A migration would take away what living workers of earlier versions need. Nothing was changed."""


class MigrationDenied(NotMigrated):
    """The database does not have the tables of this version, and the database user may not create them."""


class NotOnStandby(StoreUnavailable):
    """A transaction was committed, but perhaps not on the standby for which it had to wait."""

    def __init__(self, warning: str) -> None:
        super().__init__(f"committed, but perhaps not on the standby: {warning}")


class RolledBack(StoreUnavailable):
    """The database rolled the transaction back because of another (deadlock, serialization): nothing was done."""


class Denied(StoreUnavailable):
    """Who we connect as may not do that."""


class UnreadableEvent(SagaError):
    """An event in the log cannot be decoded: a newer version wrote it, or its class is gone."""

    def __init__(self, category: str, event_type: str, why: str) -> None:
        super().__init__(f"cannot read an event of type {event_type!r} in category {category!r}: {why}")
        self.category = category
        self.event_type = event_type
        self.why = why


# ── Seals ────────────────────────────────────────────────────────────────────────────────────────────────


class BadKey(SagaError):
    """A key cannot be used or created."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"key {path}: {why}")
        self.path = path
        self.why = why


class BadSeal(SagaError):
    """A seal differs from what was signed, or cannot be read."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"seal {path}: {why}")
        self.path = path
        self.why = why
