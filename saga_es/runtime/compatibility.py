"""Compares the code with the log: what happens to the unfinished sagas of each version of each definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.code import Code
from saga_es.definition.saga import Saga
from saga_es.errors import UnreadableEvent
from saga_es.runtime.needed_code import missing, missing_for_plan, retired_code_needed
from saga_es.store.database import Database
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import page
from saga_es.store.sagas import Sagas

AT_ONCE = 100
"""Sagas that are in memory at a time."""

SHOWN = 5
"""Ids that are shown for a group."""

_IN_ORDER_OF_LIFE = (SagaStatus.PENDING, SagaStatus.IN_PROGRESS, SagaStatus.COMPENSATING)


class Verdict(StrEnum):
    """What happens to an unfinished saga with the present code."""

    GOES_ON = "goes_on"
    WAITS = "waits"
    """The code lacks something that the saga may need, and another version has it: the saga waits for it."""
    STRANDED = "stranded"
    """No version that is known has what the saga may need: it waits until a worker has it."""
    UNREADABLE = "unreadable"


class Prospect(msgspec.Struct, frozen=True):
    """A verdict, and the reasons for it: the missing code."""

    verdict: Verdict
    missing: tuple[str, ...] = ()


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


class Retired(msgspec.Struct):
    """Retired code of a step, and how many unfinished sagas need it still.

    Attributes:
        place: Which of the step's retired code, from 1.
    """

    saga: str
    step: str
    place: int
    sagas: int = 0


class Comparison(msgspec.Struct):
    """What happens to all unfinished sagas.

    Attributes:
        goes_on: Whether every one of them goes on.
        retired: All retired code.
    """

    goes_on: bool
    versions: list[Version]
    retired: list[Retired] = []


class Comparing:
    """Compares one code with sagas, one after the other. The memory used does not grow with the number of sagas.

    Args:
        code: The code.
        living: The code of other versions, such as that of the living workers.
    """

    def __init__(self, code: Code, living: Iterable[Code] = ()) -> None:
        self._code = code
        self._living = list(living)
        self._groups: dict[tuple[str, str], dict[Prospect, Group]] = {}
        self._retired = {
            (name, step, place): Retired(name, step, place)
            for name, saga in code.items()
            for step, variants in saga.steps.items()
            for place, _ in enumerate((variant for variant in variants if variant.is_retired), start=1)
        }

    def add(self, saga_id: str, name: str, plan_id: str, found: SagaState | UnreadableEvent | None) -> None:
        """Count one saga, unless it has ended."""
        fares = self._fares(found)
        if fares is not None:
            version = self._groups.setdefault((name, plan_id), {})
            version.setdefault(fares, Group(fares.verdict, fares.missing)).count(saga_id)
        if isinstance(found, SagaState) and not found.status.ended and self._retired:
            for key in retired_code_needed(found, self._code):
                self._retired[key].sagas += 1

    def result(self) -> Comparison:
        """What was found."""
        versions = [
            Version(name, plan_id, self._is_present(name, plan_id), sum(g.sagas for g in of.values()), _sorted(of))
            for (name, plan_id), of in self._groups.items()
        ]
        versions.sort(key=lambda version: (version.saga, not version.is_present, version.plan_id))
        goes_on = all(group.verdict is Verdict.GOES_ON for version in versions for group in version.groups)
        return Comparison(goes_on, versions, list(self._retired.values()))

    def _fares(self, found: SagaState | UnreadableEvent | None) -> Prospect | None:
        match found:
            case UnreadableEvent():
                return Prospect(Verdict.UNREADABLE, (str(found),))
            case SagaState() if not found.status.ended:
                lacks = missing(found, self._code)
                if not lacks:
                    return Prospect(Verdict.GOES_ON)
                waits = any(not missing(found, code) for code in self._living)
                return Prospect(Verdict.WAITS if waits else Verdict.STRANDED, tuple(map(str, lacks)))
            case _:  # the saga has ended meanwhile
                return None

    def _is_present(self, name: str, plan_id: str) -> bool:
        return name in self._code and self._code[name].plan_id == plan_id


class WayBack(msgspec.Struct):
    """What becomes of the sagas that the code starts, when one of the other versions takes its place.

    Attributes:
        missing: What that version lacks for them; empty: it runs them.
    """

    saga: str
    plan_id: str
    missing: tuple[str, ...]


def ways_back(definitions: Iterable[Saga], others: Iterable[Code]) -> list[WayBack]:
    """What each of the other versions would make of new sagas of these definitions; each way once."""
    found = {
        (saga.name, saga.plan_id, tuple(map(str, missing_for_plan(saga.plan, code)))): None
        for saga in definitions
        for code in others
    }
    return [WayBack(*way) for way in found]


def compare(database: Database, sagas: Sagas, comparing: Comparing) -> Comparison:
    """Compare the code with the unfinished sagas of a database.

    A saga that changes its status during the comparison may be counted twice.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    for rows in unfinished(database):
        found = sagas.find_many([row["saga_id"] for row in rows])
        for row in rows:
            comparing.add(row["saga_id"], row["name"], row["plan_id"], found.get(row["saga_id"]))
    return comparing.result()


def unfinished(database: Database) -> Iterator[list[dict[str, Any]]]:
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


def _sorted(groups: Mapping[Prospect, Group]) -> list[Group]:
    order = list(Verdict)
    return sorted(groups.values(), key=lambda group: (order.index(group.verdict), -group.sagas))
