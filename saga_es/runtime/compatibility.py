"""Compares the code with the log: what happens to the unfinished sagas of each version of each definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import UnreadableEvent
from saga_es.runtime.needed_code import Prospect, Verdict, prospect
from saga_es.store.database import Database
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import page
from saga_es.store.sagas import Sagas

AT_ONCE = 100
"""Sagas that are in memory at a time."""

SHOWN = 5
"""Ids that are shown for a group."""

_IN_ORDER_OF_LIFE = (SagaStatus.PENDING, SagaStatus.IN_PROGRESS, SagaStatus.COMPENSATING)


class Group(msgspec.Struct):
    """Sagas of one version with the same prospect.

    Attributes:
        missing: The reasons why they do not go on.
        saga_ids: At most `SHOWN` of their ids.
    """

    verdict: Verdict
    missing: tuple[str, ...]
    sagas: int = 0
    saga_ids: list[str] = []

    def count(self, saga_id: str) -> None:
        """Count one more saga."""
        self.sagas += 1
        if len(self.saga_ids) < SHOWN:
            self.saga_ids.append(saga_id)


class Version(msgspec.Struct):
    """One version of a definition, with its unfinished sagas.

    Attributes:
        is_present: Whether the code defines this version.
    """

    saga: str
    plan_id: str
    is_present: bool
    sagas: int
    groups: list[Group]


class Comparison(msgspec.Struct):
    """What happens to all unfinished sagas.

    Attributes:
        goes_on: Whether every one of them goes on.
    """

    goes_on: bool
    versions: list[Version]


def compare(database: Database, sagas: Sagas, definitions: Mapping[str, Saga]) -> Comparison:
    """Compare the code with the log. The memory used does not grow with the number of sagas.

    A saga that changes its status during the comparison may be counted twice.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    groups: dict[tuple[str, str], dict[Prospect, Group]] = {}
    for rows in _unfinished(database):
        found = sagas.find_many([row["saga_id"] for row in rows])
        for row in rows:
            fares = _fares(found.get(row["saga_id"]), definitions)
            if fares is not None:
                version = groups.setdefault((row["name"], row["plan_id"]), {})
                version.setdefault(fares, Group(fares.verdict, fares.missing)).count(row["saga_id"])
    versions = [
        Version(name, plan_id, _is_present(definitions, name, plan_id), sum(g.sagas for g in of.values()), _sorted(of))
        for (name, plan_id), of in groups.items()
    ]
    versions.sort(key=lambda version: (version.saga, not version.is_present, version.plan_id))
    goes_on = all(group.verdict is Verdict.GOES_ON for version in versions for group in version.groups)
    return Comparison(goes_on, versions)


def _unfinished(database: Database) -> Iterator[list[dict[str, Any]]]:
    """The rows of unfinished sagas, status by status: a saga that moves on meanwhile is not missed."""
    for status in _IN_ORDER_OF_LIFE:
        chosen = sagas_where(SagaFilter(status=status), datetime.now(UTC))
        cursor: str | None = None
        while True:
            with database.reading() as connection:
                found = page(connection, chosen, AT_ONCE, cursor)
            yield found.rows
            cursor = found.next_cursor
            if cursor is None:
                break


def _fares(found: SagaState | UnreadableEvent | None, definitions: Mapping[str, Saga]) -> Prospect | None:
    match found:
        case UnreadableEvent():
            return Prospect(Verdict.UNREADABLE, (str(found),))
        case SagaState() if not found.status.ended:
            return prospect(found, definitions)
        case _:  # the saga has ended meanwhile
            return None


def _is_present(definitions: Mapping[str, Saga], name: str, plan_id: str) -> bool:
    return name in definitions and definitions[name].plan_id == plan_id


def _sorted(groups: Mapping[Prospect, Group]) -> list[Group]:
    order = list(Verdict)
    return sorted(groups.values(), key=lambda group: (order.index(group.verdict), -group.sagas))
