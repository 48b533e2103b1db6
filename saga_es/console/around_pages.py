"""The pages around the sagas: system, log, demo."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Blueprint, Response, abort, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import check_covers, starter
from saga_es.api.responses import node
from saga_es.console.guard import tokens
from saga_es.console.saga_pages import number
from saga_es.console.shell import address, page, part
from saga_es.core.describe import describe, plain
from saga_es.errors import UnreadableEvent
from saga_es.node.health import readiness
from saga_es.node.node import Node
from saga_es.node.overview import overview
from saga_es.store.admin.doctor import examine
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry

EVENTS_A_PAGE = 100


def add_to(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/system", "system", show_system)
    blueprint.add_url_rule("/log", "log", show_log)
    blueprint.add_url_rule("/demo", "demo", show_demo)
    blueprint.add_url_rule("/demo", "start", start, methods=["POST"])


# ── System ───────────────────────────────────────────────────────────────────────────────────────────────


@permits(Permission.WATCH)
def show_system() -> Response:
    """Workers, the last hour, what the doctor says, views and publishers, and whether this process can work."""
    here = node()
    return page(
        "system.html",
        "system",
        seen=overview(here.whole),
        findings=examine(here.database, here.store.workers, here.store.log, time.time(), measures_growth=False),
        health=readiness(here),
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
    tokens().check(request)
    wanted: Any = request.form.get("scenario", "")
    scenario = next((found for found in node().app.scenarios if found.title == wanted), None)
    if scenario is None:
        abort(404, "There is no such scenario.")
    check_covers(scenario.saga)
    handle = node().engine.start(scenario.saga, dict(scenario.input), by=starter())
    return redirect(address("show_saga", saga_id=handle.saga_id), HTTPStatus.SEE_OTHER)
