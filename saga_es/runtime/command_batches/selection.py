"""Which sagas a batch is for: those that meet its filter and can follow its command now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from saga_es.core.commands import Command
from saga_es.core.operate import record
from saga_es.core.state import SagaState, SagaStatus
from saga_es.errors import CommandRefused
from saga_es.store.database import Database
from saga_es.store.queries.failures import each_failure, fingerprint_of
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import page
from saga_es.store.store import Store

MOST = 5000
"""Sagas of one batch: their ids stand in one event."""

AT_ONCE = 200
NEWEST, OLDEST = 4, 1
UNFINISHED = (SagaStatus.IN_PROGRESS, SagaStatus.COMPENSATING)

_STATUSES: Mapping[str, tuple[SagaStatus, ...]] = {
    "retry": (SagaStatus.FAILED, *UNFINISHED),
    "skip": (SagaStatus.FAILED,),
    "resolve": (SagaStatus.FAILED,),
}
"""Where sagas that can follow a command are looked for, when the filter names no status."""


class Sample(msgspec.Struct, frozen=True):
    """One of the sagas, for a person to look at before the command is given."""

    transaction_id: str
    name: str
    status: str
    error: str | None
    updated_at: datetime


class Selection(msgspec.Struct, frozen=True):
    """The sagas of a batch.

    Attributes:
        sample: The newest four, and the oldest.
        left_out: How many meet the filter, but cannot follow the command.
        is_complete: Whether all that meet the filter were looked at.
    """

    saga_ids: list[str]
    sample: list[Sample]
    left_out: int
    is_complete: bool


def select(
    database: Database, store: Store, name: str, command: Command, wanted: SagaFilter, group: str | None, now: datetime
) -> Selection:
    """The sagas that meet a filter and can follow a command, newest first.

    Args:
        database: Where the views are.
        store: Where the log is.
        name: The command's name.
        command: The command.
        wanted: The filter.
        group: The fingerprint of the group of failures that the sagas must be in; None: any, or none.
        now: The present time.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    found = _members(database, store, wanted, group, now) if group else _rows(database, name, wanted, now)
    read = list(islice(found, MOST + 1))
    rows, chosen, left_out = read[:MOST], [], 0
    for some in (rows[begin : begin + AT_ONCE] for begin in range(0, len(rows), AT_ONCE)):
        states = store.sagas.find_many([sample.transaction_id for sample in some])
        for sample in some:
            if _can_follow(states.get(sample.transaction_id), command, now):
                chosen.append(sample)
            else:
                left_out += 1
    shown = chosen[:NEWEST] + chosen[NEWEST:][-OLDEST:]
    return Selection([sample.transaction_id for sample in chosen], shown, left_out, len(read) <= MOST)


def _rows(database: Database, name: str, wanted: SagaFilter, now: datetime) -> Iterator[Sample]:
    statuses = [wanted.status] if wanted.status else _STATUSES.get(name, UNFINISHED)
    for status in statuses:
        cursor: str | None = None
        while True:
            with database.reading() as connection:
                found = page(connection, sagas_where(replace(wanted, status=status), now), AT_ONCE, cursor)
            yield from map(_sample, found.rows)
            cursor = found.next_cursor
            if cursor is None:
                break


def _sample(row: Mapping[str, Any]) -> Sample:
    return Sample(row["saga_id"], row["name"], row["status"], row["error"], row["updated_at"])


def _members(database: Database, store: Store, wanted: SagaFilter, group: str, now: datetime) -> Iterator[Sample]:
    for failure in each_failure(database, store.log, store.sagas, wanted, now)[0]:
        if fingerprint_of(failure) == group:
            yield Sample(failure.saga_id, failure.name, failure.state, failure.error, failure.at)


def _can_follow(state: object, command: Command, now: datetime) -> bool:
    """Asked of the function that decides it when the command comes."""
    if not isinstance(state, SagaState):
        return False
    try:
        return bool(record(state, command, now))
    except CommandRefused:
        return False
