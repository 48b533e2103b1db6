"""What went wrong, in groups: sagas with the same definition, step and error, whatever ids the error names.

A group costs what its sagas cost: FAILED sagas are read from the view, at most `MOST_READ` of them, newest first; of
the unfinished, the newest are folded, because only their events say what they wait for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from saga_es.core.plan import step_of
from saga_es.core.state import SagaState, SagaStatus
from saga_es.store.database import Database
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import page
from saga_es.store.sagas import Sagas

MOST_READ = 2000
MOST_FOLDED = 200
"""Unfinished sagas of each status whose events are read."""

LONGEST_FOLDED = 300
"""Unfinished sagas with more events are left out: their events alone would take longer than the answer may."""

SAMPLE = 5
LEFT_OUT = "#"

_VARIES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # ids
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"  # times
    r"|\b(?=[0-9a-f]*\d)(?=[0-9]*[a-f])[0-9a-f]{8,}\b"  # hashes and short ids
    r"|0x[0-9a-f]+"
    r"|(?<!HTTP )(?<![A-Za-z_0-9])\d+(?:[.,:]\d+)*",  # numbers; the status of an answer says what failed
    re.IGNORECASE,
)


class Sizes(Protocol):
    """A log that knows how long its streams are."""

    def versions_of(self, stream_ids: Sequence[str]) -> Mapping[str, int]:
        """The number of events of each of these streams that exists."""
        ...


class Failure(msgspec.Struct, frozen=True):
    """One saga that failed, or whose step waits for its next try."""

    saga_id: str
    name: str
    step: str
    error: str
    at: datetime
    state: str


class Group(msgspec.Struct, frozen=True):
    """Sagas that failed in the same way.

    Attributes:
        fingerprint: What the group is named by, as long as its members fail in that way.
        error: The error, with `#` for what differs.
        state: `FAILED`, another status that was asked for, or `retrying`.
        sample: Some of its sagas, the newest first.
        times: When each of them last changed.
    """

    fingerprint: str
    name: str
    step: str
    error: str
    state: str
    count: int
    first_at: datetime
    last_at: datetime
    sample: list[str]
    times: list[datetime]


def on_the_wire(group: Group) -> dict[str, Any]:
    """A group as it is sent: without the times of all its members."""
    return {name: getattr(group, name) for name in Group.__struct_fields__ if name != "times"}


class Failures(msgspec.Struct, frozen=True):
    """The groups, the largest first, and whether all failures were read."""

    groups: list[Group]
    is_complete: bool


def normalised(error: str) -> str:
    """An error without what differs from saga to saga: ids, times and numbers, except the status of an answer."""
    return " ".join(_VARIES.sub(LEFT_OUT, error).split())


def fingerprint(name: str, step: str, error: str) -> str:
    """What stands for a definition, a step and a normalised error."""
    return sha256(f"{name}\n{step}\n{error}".encode()).hexdigest()[:16]


def failures(database: Database, log: Sizes, sagas: Sagas, wanted: SagaFilter, now: datetime) -> Failures:
    """The failures that meet a filter; without a status, those that need attention: FAILED, or retrying.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    found, is_complete = each_failure(database, log, sagas, wanted, now)
    return Failures(grouped(found), is_complete)


def each_failure(
    database: Database, log: Sizes, sagas: Sagas, wanted: SagaFilter, now: datetime
) -> tuple[list[Failure], bool]:
    """The failures that meet a filter, ungrouped, and whether these are all.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    status = wanted.status or SagaStatus.FAILED
    rows, is_complete = _rows(database, replace(wanted, status=status), now, MOST_READ)
    found = [_of_row(row) for row in rows if row["error"]]
    if wanted.status is None:
        for unfinished in (SagaStatus.IN_PROGRESS, SagaStatus.COMPENSATING):
            rows, is_all = _rows(database, replace(wanted, status=unfinished, error=None), now, MOST_FOLDED)
            found += [failure for failure in _retrying(log, sagas, rows) if _meets(failure, wanted)]
            is_complete = is_complete and is_all
    return found, is_complete


def fingerprint_of(failure: Failure) -> str:
    """The fingerprint of the group that a failure is in."""
    return fingerprint(failure.name, step_of(failure.step), normalised(failure.error))


def grouped(found: list[Failure]) -> list[Group]:
    """The failures in groups, the largest first."""
    together: dict[tuple[str, str, str, str], list[Failure]] = {}
    for failure in found:
        key = (failure.name, step_of(failure.step), normalised(failure.error), failure.state)
        together.setdefault(key, []).append(failure)
    groups = [_group(*key, members) for key, members in together.items()]
    return sorted(groups, key=lambda group: (-group.count, -group.last_at.timestamp(), group.fingerprint))


def _group(name: str, step: str, error: str, state: str, members: list[Failure]) -> Group:
    newest = sorted(members, key=lambda failure: failure.at, reverse=True)
    return Group(
        fingerprint=fingerprint(name, step, error),
        name=name,
        step=step,
        error=error,
        state=state,
        count=len(members),
        first_at=newest[-1].at,
        last_at=newest[0].at,
        sample=[failure.saga_id for failure in newest[:SAMPLE]],
        times=[failure.at for failure in newest],
    )


def _rows(database: Database, wanted: SagaFilter, now: datetime, most: int) -> tuple[list[Mapping[str, Any]], bool]:
    chosen, rows, cursor = sagas_where(wanted, now), list[Mapping[str, Any]](), None
    with database.reading() as connection:
        while len(rows) < most:
            found = page(connection, chosen, min(500, most - len(rows)), cursor)
            rows += found.rows
            cursor = found.next_cursor
            if cursor is None:
                return rows, True
    return rows, False


def _of_row(row: Mapping[str, Any]) -> Failure:
    about = (row["saga_id"], row["name"], row["current_step"] or "", row["error"], row["updated_at"])
    return Failure(*about, state=row["status"])


def _retrying(log: Sizes, sagas: Sagas, rows: list[Mapping[str, Any]]) -> Iterator[Failure]:
    ids = [row["saga_id"] for row in rows]
    sizes = log.versions_of(ids) if ids else {}
    states = sagas.find_many([id_ for id_ in ids if sizes.get(id_, 0) <= LONGEST_FOLDED])
    for row in rows:
        state = states.get(row["saga_id"])
        if isinstance(state, SagaState):
            yield from _waiting(state, row["updated_at"])


def _waiting(state: SagaState, at: datetime) -> Iterator[Failure]:
    """The first step that waits for its next try: a saga is in one group."""
    for name, step in state.steps.items():
        if step.waiting is not None:
            yield Failure(state.saga_id, state.plan.saga, name, step.waiting.error, at, "retrying")
            return


def _meets(failure: Failure, wanted: SagaFilter) -> bool:
    return wanted.error is None or wanted.error.casefold() in failure.error.casefold()
