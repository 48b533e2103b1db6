"""The definitions that this process knows or the log names: versions in flight, and figures."""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa

from saga_es.core.access import Scope
from saga_es.core.plan import Plan
from saga_es.core.state import UNFINISHED
from saga_es.errors import UnreadableEvent
from saga_es.node.node import Node
from saga_es.runtime.needed_code import missing_for_plan
from saga_es.store.queries.figures import SagaFigures, figures
from saga_es.store.queries.filters import seen_by
from saga_es.store.views.saga_view import sagas

MOST_NAMES = 100
MOST_COUNTED = 2_000
"""Sagas of one status of a definition that are counted by version."""


class InFlight(msgspec.Struct, frozen=True):
    """The unfinished sagas of one version of a definition.

    Attributes:
        is_present: Whether this process starts sagas of this version.
        sagas: How many there are; `is_all`: whether all were counted.
        missing: The code that a saga of this version may need, from its start on, and that this process lacks.
    """

    plan_id: str
    is_present: bool
    sagas: int
    is_all: bool
    missing: list[str]


class Definition(msgspec.Struct, frozen=True):
    """One definition.

    Attributes:
        plan: Its plan in this process, else that of its newest saga; None: it cannot be read.
        is_known: Whether this process has its code.
        in_flight: The versions of its unfinished sagas, the present one first.
        figures: None: of this reader's sagas nothing was counted.
    """

    name: str
    plan: Plan | None
    is_known: bool
    in_flight: list[InFlight]
    figures: SagaFigures | None

    @property
    def fits(self) -> bool:
        """Whether this process has all code that its unfinished sagas may need."""
        return not any(version.missing for version in self.in_flight)


def definitions(node: Node, scope: Scope | None, begin: datetime, name: str | None = None) -> list[Definition]:
    """The definitions that a reader may see, by name.

    Args:
        node: This process.
        scope: The sagas that the reader may see; None: all.
        begin: When the figures begin.
        name: This definition alone, and the figures of its steps; there may be none.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    known = {
        saga.name: saga.plan
        for saga in node.app.definitions
        if scope is None or scope.sagas is None or saga.name in scope.sagas
    }
    with node.database.reading() as connection:
        names = [name] if name is not None else sorted({*known, *names_of_sagas(connection, scope)})
        plan_ids = {one: _newest(connection, scope, one) for one in names if one not in known}
        in_flight = {one: _in_flight(connection, scope, one) for one in names}
    plans = {one: known[one] if one in known else _plan(node, plan_ids[one]) for one in names}
    names = [one for one in names if one in known or plan_ids[one] is not None]
    steps = {one: _steps(node, plans[one], in_flight[one]) if name is not None else () for one in names}
    found = {of.name: of for of in figures(node.database, steps, begin, scope)}
    return [
        Definition(one, plans[one], one in known, _versions(node, one, in_flight[one]), found.get(one)) for one in names
    ]


def names_of_sagas(connection: sa.Connection, scope: Scope | None) -> list[str]:
    """The names that the sagas have, each looked up behind the one before: an index of millions is not read."""
    found: list[str] = []
    while len(found) < MOST_NAMES:
        query = sa.select(sagas.c.name).where(*seen_by(scope)).order_by(sagas.c.name).limit(1)
        name = connection.scalar(query.where(sagas.c.name > found[-1]) if found else query)
        if name is None:
            return found
        found.append(name)
    return found


def _newest(connection: sa.Connection, scope: Scope | None, name: str) -> str | None:
    query = sa.select(sagas.c.plan_id).where(sagas.c.name == name, *seen_by(scope))
    return connection.scalar(query.order_by(sagas.c.created_at.desc(), sagas.c.saga_id.desc()).limit(1))


def _in_flight(connection: sa.Connection, scope: Scope | None, name: str) -> dict[str, tuple[int, bool]]:
    """How many unfinished sagas each plan has, and whether all were counted."""
    counts: dict[str, int] = {}
    is_all = True
    for status in sorted(UNFINISHED):
        some = (
            sa.select(sagas.c.plan_id)
            .where(sagas.c.status == status.value, sagas.c.name == name, *seen_by(scope))
            .limit(MOST_COUNTED)
            .subquery()
        )
        query = sa.select(some.c.plan_id, sa.func.count()).group_by(some.c.plan_id)
        by_plan: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
        is_all = is_all and sum(by_plan.values()) < MOST_COUNTED
        counts = {plan_id: counts.get(plan_id, 0) + by_plan.get(plan_id, 0) for plan_id in counts | by_plan}
    return {plan_id: (count, is_all) for plan_id, count in counts.items()}


def _plan(node: Node, plan_id: str | None) -> Plan | None:
    try:
        return None if plan_id is None else node.store.sagas.plan(plan_id)
    except UnreadableEvent:
        return None


def _steps(node: Node, plan: Plan | None, in_flight: dict[str, tuple[int, bool]]) -> list[str]:
    """The steps of the plan, then those that only older plans have."""
    plans = [plan, *(_plan(node, plan_id) for plan_id in sorted(in_flight))]
    return list(dict.fromkeys(step.name for one in plans if one is not None for step in one.steps))


def _versions(node: Node, name: str, in_flight: dict[str, tuple[int, bool]]) -> list[InFlight]:
    present = node.code[name].plan_id if name in node.code else None
    found = []
    for plan_id, (count, is_all) in in_flight.items():
        plan = _plan(node, plan_id)
        lacks = [str(one) for one in missing_for_plan(plan, node.code)] if plan else [f"plan {plan_id} cannot be read"]
        found.append(InFlight(plan_id, plan_id == present, count, is_all, lacks))
    return sorted(found, key=lambda version: (not version.is_present, -version.sagas, version.plan_id))
