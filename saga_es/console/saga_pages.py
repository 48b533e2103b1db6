"""The list of sagas, and the page of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import check_error_filter, scope
from saga_es.api.responses import node
from saga_es.console import rows
from saga_es.console.axis import MODES, Mode
from saga_es.console.following import WITH_CARE
from saga_es.console.listing import Listed, listed
from saga_es.console.offering import offered
from saga_es.console.queries import CONDITIONS, asked_of_list
from saga_es.console.saga_page import compared, saga_page, shown_elements
from saga_es.console.shell import address, page, part
from saga_es.console.words import COLUMN_WORDS, SINCE_WORDS, STATUS_WORDS
from saga_es.node.definitions import names_of_sagas
from saga_es.store.queries.difference import Change
from saga_es.store.queries.pages import BadCursor

A_PAGE = 50


def add_to(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/sagas", "list_sagas", list_sagas)
    blueprint.add_url_rule("/jump", "jump", jump)
    blueprint.add_url_rule("/sagas/<string:saga_id>", "show_saga", show_saga)


@permits(Permission.READ)
def list_sagas() -> Response:
    """The sagas that meet all filters, newest first."""
    if request.args.get("part") == "rows":
        return part("sagas_part.html", _listed)
    given = _listed()
    return page("sagas.html", "sagas", 422 if given["problems"] else 200, **given)


def _listed() -> dict[str, Any]:
    now = datetime.now(UTC)
    wanted = asked_of_list(request.args, now)
    check_error_filter(wanted.wanted.error)
    problems = [*wanted.problems]
    here = node()
    try:
        found = listed(here, wanted, now, A_PAGE, request.args.get("cursor") or None)
    except BadCursor as error:
        problems.append(f"cursor: {error}")
        found = Listed([], None)
    with here.database.reading() as connection:
        by_status = rows.counts(connection, scope())
        names = names_of_sagas(connection, scope())
    return {
        "rows": found.rows,
        "next_cursor": found.next_cursor,
        "is_first": not request.args.get("cursor"),
        "asked": wanted,
        "problems": problems,
        "counts": by_status,
        "most": rows.MOST_COUNTED,
        "names": names,
        "words": STATUS_WORDS,
        "ages": SINCE_WORDS,
        "columns": COLUMN_WORDS,
        "conditions": CONDITIONS,
        "now": now,
    }


@permits(Permission.READ)
def jump() -> BaseResponse:
    """Go to the saga whose id was typed."""
    id_ = request.args.get("id", "").strip()
    return redirect(address("show_saga", saga_id=id_) if id_ else address("list_sagas"))


@permits(Permission.READ)
def show_saga(saga_id: str) -> Response:
    """One saga, now or at a version."""
    now = datetime.now(UTC)
    here = node()
    version = number("at_version")
    shown, life = saga_page(here, saga_id, version, _mode(), number("until"), now)
    other = number("compare")
    return page(
        "saga.html",
        "sagas",
        saga=shown.story,
        shown=shown,
        now=now,
        offers=[] if shown.is_past else offered(life.state, now),
        careful=WITH_CARE,
        words=STATUS_WORDS,
        modes=MODES,
        elements_of=shown_elements,
        compare=other,
        changes=_changes(saga_id, shown.seen, other),
        done=number("done"),
    )


def _changes(saga_id: str, seen: int, other: int | None) -> list[Change]:
    return [] if other is None else compared(node(), saga_id, seen, other)


def _mode() -> Mode:
    given = request.args.get("axis")
    return next((mode for mode in MODES if mode == given), MODES[0])


LARGEST = 2**31 - 1


def number(name: str) -> int | None:
    """A positive number of the address; what is none counts as left out."""
    text = request.args.get(name, "")
    return min(int(text), LARGEST) if text.isascii() and text.isdigit() and int(text[:12]) > 0 else None
