"""The pages around the sagas: definitions, system, log, demo."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
import sqlalchemy as sa
from flask import Blueprint, Response, abort, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import check_covers, principal, scope, starter
from saga_es.api.responses import node
from saga_es.console.command_pages import secret_key
from saga_es.console.graph import draw_graph
from saga_es.console.guard import Tokens
from saga_es.console.rows import MOST_COUNTED, counts
from saga_es.console.saga_pages import number
from saga_es.console.shell import address, page, part
from saga_es.console.words import STATUS_WORDS
from saga_es.core.describe import describe, plain
from saga_es.core.plan import Plan
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import UnreadableEvent
from saga_es.node.health import readiness
from saga_es.node.node import Node
from saga_es.store.admin.doctor import examine
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry
from saga_es.store.queries.filters import seen_by
from saga_es.store.views.saga_view import sagas

EVENTS_A_PAGE = 100
MOST_NAMES = 100


def add_to(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/definitions", "definitions", list_definitions)
    blueprint.add_url_rule("/definitions/<path:name>", "definition", show_definition)
    blueprint.add_url_rule("/system", "system", show_system)
    blueprint.add_url_rule("/log", "log", show_log)
    blueprint.add_url_rule("/demo", "demo", show_demo)
    blueprint.add_url_rule("/demo", "start", start, methods=["POST"])


# ── Definitions ──────────────────────────────────────────────────────────────────────────────────────────


def _known(here: Node) -> dict[str, Saga]:
    return {saga.name: saga for saga in here.app.definitions if principal().covers(saga.name)}


@permits(Permission.READ)
def list_definitions() -> Response:
    """Each definition that this process knows or the log names, with how many of its sagas have each status."""
    here = node()
    known = _known(here)
    with here.database.reading() as connection:
        there = sa.select(sagas.c.name).where(*seen_by(scope())).distinct()
        names = connection.scalars(there.order_by(sagas.c.name).limit(MOST_NAMES))
        listed = sorted({*known, *names})
        counts = {name: _counts(connection, name) for name in listed}
    return page(
        "definitions.html",
        "definitions",
        names=listed,
        known=set(known),
        counts=counts,
        steps={name: len(saga.plan.steps) for name, saga in known.items()},
        statuses=list(SagaStatus),
        most=MOST_COUNTED,
        words=STATUS_WORDS,
    )


def _counts(connection: sa.Connection, name: str) -> dict[str, int]:
    return counts(connection, scope(), sagas.c.name == name)


@permits(Permission.READ)
def show_definition(name: str) -> Response:
    """One definition: its plan as a graph and as a table."""
    here = node()
    saga = _known(here).get(name)
    query = (
        sa.select(sagas.c.plan_id)
        .where(sagas.c.name == name, *seen_by(scope()))
        .order_by(sagas.c.created_at.desc())
        .limit(1)
    )
    with here.database.reading() as connection:
        plan_id = connection.scalar(query) if "\0" not in name else None
        counts = _counts(connection, name) if "\0" not in name else {}
    if saga is None and plan_id is None:
        abort(404, f"No definition is named {name[:80]}.")
    plan: Plan = saga.plan if saga is not None else here.store.sagas.plan(str(plan_id))
    return page(
        "definition.html",
        "definitions",
        plan=plan,
        graph=draw_graph(plan, {}),
        counts=counts,
        is_known=saga is not None,
        most=MOST_COUNTED,
        words=STATUS_WORDS,
    )


# ── System ───────────────────────────────────────────────────────────────────────────────────────────────


@permits(Permission.WATCH)
def show_system() -> Response:
    """What the doctor says, and whether this process can do its work."""
    here = node()
    return page(
        "system.html",
        "system",
        findings=examine(here.database, here.store.workers, here.store.log, time.time()),
        health=readiness(here),
        worker=here.engine.worker_id,
        active=here.engine.active,
        in_flight=here.engine.in_flight,
        position=here.store.log.last_position(),
    )


# ── The log ──────────────────────────────────────────────────────────────────────────────────────────────


class Line(msgspec.Struct, frozen=True):
    """One event of the log."""

    entry: Entry
    sentence: str
    is_saga: bool


@permits(Permission.WATCH)
def show_log() -> Response:
    """The newest events, or those before a position."""
    return part("log_rows.html", _lines) if request.args.get("part") == "rows" else page("log.html", "log", **_lines())


def _lines() -> dict[str, Any]:
    here = node()
    last = here.store.log.last_position()
    until = min(last, (number("before") or last + 1) - 1)
    after = max(0, until - EVENTS_A_PAGE)
    entries = here.store.log.entries(after_position=after, until_position=until)
    return {
        "lines": [_line(here, entry) for entry in entries],
        "older": after + 1 if after else None,
        "is_newest": until == last,
        "last": last,
    }


def _line(here: Node, entry: Entry) -> Line:
    if entry.category != SAGA:
        return Line(entry, entry.type, is_saga=False)
    try:
        return Line(entry, plain(describe(here.store.log.decode(entry).event)), is_saga=True)
    except UnreadableEvent as error:
        return Line(entry, f"It cannot be read: {error}", is_saga=True)


# ── Demo ─────────────────────────────────────────────────────────────────────────────────────────────────


@permits(Permission.READ)
def show_demo() -> Response:
    """The scenarios of the application, as buttons."""
    return page("demo.html", "demo", scenarios=node().app.scenarios, now=datetime.now(UTC))


@permits(Permission.OPERATE)
def start() -> BaseResponse:
    """Start the saga of a scenario, and go to its page."""
    Tokens(secret_key()).check(request)
    wanted: Any = request.form.get("scenario", "")
    scenario = next((found for found in node().app.scenarios if found.title == wanted), None)
    if scenario is None:
        abort(404, "There is no such scenario.")
    check_covers(scenario.saga)
    handle = node().engine.start(scenario.saga, dict(scenario.input), by=starter())
    return redirect(address("show_saga", saga_id=handle.saga_id), HTTPStatus.SEE_OTHER)
