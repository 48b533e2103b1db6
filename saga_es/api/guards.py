"""What a request must keep before a route sees it, and what every answer says to a browser.

A page of another site may make a browser send requests here. It cannot read the answers, but a request may be enough:
a signal, a cancel. So the host must be one of ours, the request must come from a page of ours or from no page, and the
body must be JSON, which no form can send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app, request

from saga_es.api.blueprint import JSON
from saga_es.api.problems import Problem
from saga_es.node.health import NODE_UNOPENED
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.calls.transport import IN_PROCESS

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 (compared, not bound)
FOR_PROBES = {"/livez", "/readyz", "/metrics"}
"""Asked by orchestrators and scrapers by address; they change nothing and name no secret."""

_GUARDED = "saga_es.guarded"
"""The Flask extension that says that a whole application is ours, and checked."""

SAFE = {"GET", "HEAD", "OPTIONS"}
WITH_BODY = {"POST", "PUT", "PATCH"}
OWN_PAGES = {"same-origin", "none"}
PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::\d*)?", re.ASCII)

_ONLY_DATA = "default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),  # with `no-referrer` a browser says `Origin: null` of our own pages' forms
)
HEADERS_OF_DATA = (*_HEADERS, ("Cache-Control", "no-store"), ("Content-Security-Policy", _ONLY_DATA))
"""The headers of an answer that no route has made."""


def guard(app: Flask, settings: Settings, admit: Callable[[], Response | None]) -> None:
    """Check each request of an application of ours, and put the headers on each answer.

    Args:
        app: The application.
        settings: Say which hosts are ours.
        admit: Finds out who sent a request for a host of ours; an answer of it refuses them.
    """
    named = [settings.host, urlsplit(settings.callback_url).hostname]
    hosts = [*LOOPBACK, *settings.hosts, *(name for name in named if name and name not in ANY_ADDRESS)]
    names = {host.lower().strip("[]") for host in hosts if not host.startswith(".")}
    domains = tuple(host.lower() for host in hosts if host.startswith("."))

    def check() -> None:
        environ = request.environ
        if IN_PROCESS in environ:  # a call of a saga of ours: no browser, no network
            return
        check_host(names, domains)

    def check_form() -> None:
        if IN_PROCESS not in request.environ:
            check_site()
            check_type()

    app.extensions[_GUARDED] = True
    app.before_request(check)
    app.before_request(admit)
    app.before_request(check_form)
    app.after_request(with_headers)


def guard_mounted(blueprint: Blueprint) -> None:
    """Check the requests of a blueprint of ours in an application of the user's, whose hosts are for it to say."""

    def check() -> None:
        if _GUARDED not in current_app.extensions and IN_PROCESS not in request.environ:
            limit_body()
            check_site()
            check_type()

    blueprint.before_request(check)
    blueprint.after_request(with_headers)


def check_host(names: Collection[str], domains: tuple[str, ...]) -> None:
    """Refuse a request for another host: a name of a stranger's may lead to this address.

    Args:
        names: The names of this server, in lower case; addresses without brackets.
        domains: With a dot before each: every name below one is this server's.
    """
    named = request.environ.get("HTTP_HOST")
    if named is None or request.path in FOR_PROBES:  # a browser always names the host
        return
    matched = _HOST.fullmatch(named)
    name = (matched[1] or matched[2]).lower() if matched else ""
    if name not in names and not (domains and name.endswith(domains)):
        cure = "add it to SAGA_ES_ALLOWED_HOSTS if it is a name of this server"
        raise Problem(421, f"this server does not answer for the host {named[:80]!r}; {cure}")


def limit_body() -> None:
    """Read no more of a body than a payload may have, whatever the application of the user reads elsewhere."""
    node: Node = current_app.extensions[NODE_UNOPENED]
    request.max_content_length = node.settings.payload_limit


def check_site() -> None:
    """Refuse a request that a page of another site makes a browser send."""
    if request.method in SAFE:
        return
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if (origin is not None and not _is_own(origin)) or (site is not None and site not in OWN_PAGES):
        raise Problem(403, "a page of another site sent this request; send it from a page of this server, or no page")


def check_type() -> None:
    """Refuse a body of another content type, and a request that should have a body but names no type."""
    if request.environ.get("CONTENT_TYPE") == JSON or request.method not in WITH_BODY:  # nearly always, and fast
        return
    if request.url_rule is None or request.is_json or takes("takes_forms"):
        return
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if not has_body and takes("body_is_optional"):
        return
    found = (request.mimetype or "none")[:80]
    raise Problem(415, f"the body must be JSON, also an empty one; send Content-Type: application/json, not {found}")


def with_headers(response: Response) -> Response:
    """The answer with the headers that a browser heeds; those that a route has set stay."""
    if IN_PROCESS not in request.environ:
        headers = response.headers
        for name, value in _HEADERS:
            headers.setdefault(name, value)
        if "immutable" not in headers.get("Cache-Control", ""):  # a file whose address changes with its content
            headers["Cache-Control"] = "no-store"
        headers.setdefault("Content-Security-Policy", _PAGE if response.mimetype == "text/html" else _ONLY_DATA)
    return response


def takes(what: str) -> bool:
    """What the request's blueprint says of itself; forms are checked by a token of their own."""
    return getattr(current_app.blueprints.get(request.blueprint or ""), what, False)


def _is_own(origin: str) -> bool:
    """Whether an origin is this server. A proxy may speak TLS in front of it, so schemes are not compared."""
    try:
        parts = urlsplit(origin)
        there = (parts.hostname, parts.port or PORTS.get(parts.scheme))
        own = urlsplit(f"//{request.host}")
        return there[0] is not None and there in {(own.hostname, own.port or port) for port in PORTS.values()}
    except ValueError:
        return False
