"""The pages of definitions: their graphs, their versions in flight, and their figures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from flask import Blueprint, Response, abort, request

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import scope
from saga_es.api.responses import node
from saga_es.console.graph import draw_graph
from saga_es.console.percentiles import Axis, axis_of, draw_durations
from saga_es.console.rows import MOST_COUNTED, counts
from saga_es.console.shell import page
from saga_es.console.words import STATUS_WORDS, WITHIN_WORDS
from saga_es.core.state import SagaStatus
from saga_es.node.definitions import Definition, definitions
from saga_es.store.queries.figures import FEWEST, SPANS, Within, since
from saga_es.store.views.saga_view import sagas


def add_to(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/definitions", "definitions", list_definitions)
    blueprint.add_url_rule("/definitions/<path:name>", "definition", show_definition)


class Asked(msgspec.Struct, frozen=True):
    """The span that an address asks for, and when it begins."""

    within: Within
    begin: datetime


def _asked() -> Asked:
    given = request.args.get("within", "day")
    within = cast("Within", given if given in SPANS else "day")
    return Asked(within, since(within, datetime.now(UTC)))


@permits(Permission.READ)
def list_definitions() -> Response:
    """Each definition that this process knows or the log names: how its sagas stand, and how those before ended."""
    here, asked = node(), _asked()
    found = definitions(here, scope(), asked.begin)
    return page(
        "definitions.html",
        "definitions",
        found=found,
        unfit=sum(not one.fits for one in found),
        counts=_counts([one.name for one in found]),
        statuses=list(SagaStatus),
        **_common(asked),
    )


def _common(asked: Asked) -> dict[str, Any]:
    return {"asked": asked, "spans": WITHIN_WORDS, "most": MOST_COUNTED, "words": STATUS_WORDS, "fewest": FEWEST}


def _counts(names: list[str]) -> dict[str, dict[str, int]]:
    with node().database.reading() as connection:
        return {name: counts(connection, scope(), sagas.c.name == name) for name in names}


@permits(Permission.READ)
def show_definition(name: str) -> Response:
    """One definition: its plan as a graph, its versions in flight, and the figures of each step."""
    asked = _asked()
    found = definitions(node(), scope(), asked.begin, name) if "\0" not in name else []
    plan = found[0].plan if found else None
    if plan is None:
        abort(404, f"No definition is named {name[:80]}.")
    (one,) = found
    axis = axis_of([one.figures.took, *(step.took for step in one.figures.steps)] if one.figures else [])
    return page(
        "definition.html",
        "definitions",
        one=one,
        plan=plan,
        graph=draw_graph(plan, {}),
        counts=_counts([name])[name],
        axis=axis,
        drawn=_drawn(one, axis),
        **_common(asked),
    )


def _drawn(one: Definition, axis: Axis) -> dict[str, Any]:
    steps = one.figures.steps if one.figures else []
    return {step.step: draw_durations(step.took, axis) for step in steps}
