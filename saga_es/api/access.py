"""Who sent a request, and whether the route that it asks for is for them.

Each route of ours declares a permission with `permits`, or its blueprint does. A route that declares none is denied.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import Flask, Response, current_app, g, request

from saga_es.access.authenticate import is_loopback
from saga_es.access.permissions import DECLARED, Declared, Permission
from saga_es.access.principal import NOBODY, UNGUARDED, Principal
from saga_es.access.redaction import REDACTED
from saga_es.api.guards import takes
from saga_es.api.problems import Problem
from saga_es.core.access import Scope, Starter
from saga_es.logs import logger
from saga_es.node.health import NODE_UNOPENED
from saga_es.node.node import Node
from saga_es.runtime.calls.transport import IN_PROCESS

_PRINCIPAL = "saga_es_principal"
_OURS = "saga_es.ours"
"""The Flask extension that says which blueprints of an application of the user's are ours."""


def guard_access_to(app: Flask, *blueprints: str) -> None:
    """Ask who sent a request for these blueprints of ours, in an application of the user's."""
    if _OURS not in app.extensions:
        app.extensions[_OURS] = set()
        app.before_request(_admit_to_ours)
    app.extensions[_OURS] |= set(blueprints)


def principal() -> Principal:
    """Who sent the present request.

    Where nobody has to be known, it is a principal that may do everything; for a request without credentials to a route
    that needs none, or to a route that is not ours, it is one that may do nothing.
    """
    if _PRINCIPAL not in g:
        setattr(g, _PRINCIPAL, _sender() or NOBODY)
    found: Principal = g.get(_PRINCIPAL)
    return found


def sees_payloads() -> bool:
    """Whether the sender of the present request may see inputs, results and errors."""
    return principal().may(Permission.PAYLOADS)


def scope() -> Scope | None:
    """The sagas that the sender of the present request may see; None: all."""
    return None if principal() is UNGUARDED else principal().scope


def starter() -> Starter | None:
    """Who starts a saga by the present request, if they had to be known."""
    found = principal()
    return None if found is UNGUARDED or found is NOBODY else found.starter


def check_covers(saga: str) -> None:
    """Check that the sender of the request may start sagas of a definition.

    Raises:
        Problem: 403.
    """
    if not principal().covers(saga):
        raise Problem(403, f"{principal().name!r} may not start sagas of the definition {saga!r}")


def known_actor() -> str | None:
    """Who sent the present request, if they had to be known."""
    return None if principal() is UNGUARDED else principal().name


def acting(given: str | None, fallback: str = "anonymous") -> dict[str, str | None]:
    """Who gives a command, and on whose behalf: whoever is known acts, and names in the body whom they act for.

    Args:
        given: The actor that the body names.
        fallback: Who acts when nobody has to be known, and none is named.
    """
    if principal() is UNGUARDED:
        return {"actor": given or fallback}
    return {"actor": principal().name, "on_behalf_of": given}


def shown_error(error: str | None) -> str | None:
    """An error as the sender of the request may see it."""
    return error if error is None or sees_payloads() else REDACTED


def check_error_filter(error: str | None) -> None:
    """Check that a list is not searched by errors that its reader may not see: each answer would tell one of them.

    Raises:
        Problem: 403.
    """
    if error is not None and not sees_payloads():
        raise Problem(403, "errors are redacted for this principal, so it cannot search them")


def _admit_to_ours() -> Response | None:
    return admit() if request.blueprint in current_app.extensions[_OURS] else None


def admit() -> Response | None:
    """Find out who sent the request, and refuse what is not for them; 401 is one answer, whatever was asked for."""
    if _node().authenticate is None and (found := _sender()) is not None:  # nobody has to be known: asked no further
        setattr(g, _PRINCIPAL, found)
        return None
    asked = _asked_for()
    if asked is Permission.OPEN or (asked is Permission.REPLY and _is_reply()):
        return None
    found = _sender()
    if found is None:
        return _unknown()
    setattr(g, _PRINCIPAL, found)
    if request.routing_exception is not None or found is UNGUARDED or (asked is not None and found.may(asked)):
        return None
    lacks = "it declares none" if asked is None else f"{found.name!r} lacks {asked.value!r}"
    refused = Problem(403, f"a permission is needed for this, and {lacks}")
    if takes("takes_forms"):
        raise refused  # answered as a page
    return refused.response()


def _sender() -> Principal | None:
    caller = request.environ.get(IN_PROCESS)
    node = _node()
    if node.authenticate is None:
        return UNGUARDED if caller is not None or _is_near(node) else None
    if isinstance(caller, Principal):  # an object, which no header can be
        return caller
    return node.authenticate(request)


def _is_reply() -> bool:
    """Whether the URL is one that was made for the reply to a call."""
    replies = _node().replies
    return replies is not None and replies.read((request.view_args or {}).get("token", "")) is not None


def _is_near(node: Node) -> bool:
    """Whether the sender is on this machine. `serve` asks for loopback when it starts; another server may not."""
    if node.settings.insecure_no_auth or is_loopback(request.environ.get("REMOTE_ADDR") or "localhost"):
        return True
    _warn_of_strangers()
    return False


@cache  # strangers may send as many requests as they like
def _warn_of_strangers() -> None:
    logger.warning("requests from other machines are refused: set SAGA_ES_AUTH or auth=, or insecure_no_auth")


def _unknown() -> Response:
    detail = "this needs credentials, and the request has none that are valid: send Authorization: Bearer ..."
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"}).response()


def _asked_for() -> Permission | None:
    """What the route asks for; None: it declares nothing, or there is no route."""
    if request.endpoint is None:
        return None
    declared = declared_by(current_app, request.endpoint)
    if isinstance(declared, Mapping):
        return declared.get((request.view_args or {}).get("name", ""))
    return declared


def declared_by(app: Flask, endpoint: str) -> Declared | None:
    """The permission that a route declares, or its blueprint for it; None: nobody declared any."""
    own: Any = getattr(app.view_functions[endpoint], DECLARED, None)
    if own is not None:
        return own  # type: ignore[no-any-return]  # set by `permits` alone
    return getattr(app.blueprints.get(endpoint.rpartition(".")[0]), DECLARED, None)


def _node() -> Node:
    found: Node = current_app.extensions[NODE_UNOPENED]
    return found
