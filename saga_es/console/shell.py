"""What surrounds every page: the sidebar, the language, the theme, and the answers to errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import sqlalchemy as sa
from flask import Response, current_app, g, request, url_for

from saga_es.api.access import scope
from saga_es.api.responses import node
from saga_es.console.guard import COOKIE, KEYS_COOKIE, LANGUAGE_COOKIE, THEME_COOKIE, new_cookie, tokens
from saga_es.console.live import POSITION, Kept, same_for
from saga_es.console.rendering import rendered
from saga_es.console.rows import MOST_COUNTED
from saga_es.console.words import LANGUAGES
from saga_es.core.state import SagaStatus
from saga_es.errors import StoreUnavailable
from saga_es.node.node import Node
from saga_es.store.queries.filters import seen_by
from saga_es.store.views.saga_view import sagas

NAME = "saga_es_console"
KEPT = "saga_es.console.kept"
THEMES = ("auto", "light", "dark")
KEYS = ("on", "off")
LONG_S = 365 * 86_400


def address(endpoint: str, **values: Any) -> str:
    """The address of a page of the console, under whatever prefix it is mounted."""
    return url_for(f"{NAME}.{endpoint}", **values)


@cache
def _stamp() -> str:
    """What changes with the files of the pages, so that browsers may keep them."""
    folder = files(__package__) / "static"
    return sha256(b"".join(file.read_bytes() for file in sorted(folder.iterdir(), key=str))).hexdigest()[:12]


def file_address(name: str) -> str:
    """The address of a file of the pages."""
    return address("static", filename=name, v=_stamp())


def query_address(endpoint: str, pairs: list[tuple[str, str]], **values: Any) -> str:
    """The address of a page with these parameters, some of which may be repeated."""
    together: dict[str, Any] = {}
    for name, value in pairs:
        together.setdefault(name, []).append(value)
    return address(endpoint, **together, **values)


def language() -> str:
    """The language of the viewer: the one chosen, else the best that the browser accepts."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen is not None and chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(list(LANGUAGES)) or "en"


def theme() -> str:
    """The theme of the viewer."""
    chosen = request.cookies.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


def keys() -> str:
    """Whether single letters are commands to the viewer's pages: `on` or `off`."""
    chosen = request.cookies.get(KEYS_COOKIE, "on")
    return chosen if chosen in KEYS else "on"


_ADDRESSES = {"address": address, "file_address": file_address, "query_address": query_address}


def part(template: str, given: Callable[[], dict[str, Any]]) -> Response:
    """A part of a page, which many may look at: it is made anew at most once a second.

    Args:
        template: Its template.
        given: What the template shows, which is read only when the part is made.
    """
    kept: Kept = current_app.extensions.setdefault(KEPT, Kept())
    html = kept.get(same_for(), lambda: rendered(template, language(), **_ADDRESSES, **given()))
    return Response(html, content_type="text/html; charset=utf-8")


def page(template: str, here: str, status: int = 200, **given: Any) -> Response:
    """A page with everything that surrounds it.

    Args:
        template: Its template.
        here: The entry of the sidebar that it belongs to.
        status: The HTTP status.
        given: What the template shows.
    """
    cookie = _cookie()
    html = rendered(
        template,
        language(),
        here=here,
        theme=theme(),
        themes=THEMES,
        keys=keys(),
        languages=LANGUAGES,
        **_ADDRESSES,
        read_until=g.get(POSITION, 0),
        back=request.full_path.rstrip("?"),
        csrf=tokens().token(cookie),
        **_about(),
        **given,
    )
    response = Response(html, status, content_type="text/html; charset=utf-8")
    if request.cookies.get(COOKIE) != cookie:
        keep(response, COOKIE, cookie, same_site="Strict")
    return response


def _cookie() -> str:
    if "saga_es_csrf" not in g:
        g.saga_es_csrf = request.cookies.get(COOKIE) or new_cookie()
    found: str = g.saga_es_csrf
    return found


def keep(response: Response, name: str, value: str, same_site: str = "Lax") -> None:
    """Set a cookie of the console."""
    response.set_cookie(
        name,
        value,
        max_age=LONG_S if same_site == "Lax" else None,
        path=request.script_root or "/",
        secure=request.is_secure,
        httponly=True,
        samesite=same_site,
    )


def _about() -> dict[str, Any]:
    try:
        here = node()
        return {"app_name": here.app.name, "attention": failed(here), "has_demo": bool(here.app.scenarios)}
    except StoreUnavailable:
        return {"app_name": "", "attention": 0, "has_demo": False}


def failed(here: Node) -> int:
    """How many sagas need a person, counted up to a limit."""
    some = (
        sa.select(sagas.c.saga_id)
        .where(sagas.c.status == SagaStatus.FAILED.value, *seen_by(scope()))
        .limit(MOST_COUNTED)
        .subquery()
    )
    with here.database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
