"""Permissions: what a route asks for. What asks for nothing is denied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Permission(StrEnum):
    """What a route, a page or a command asks of its caller. A role has some of them."""

    OPEN = "open"
    """Nobody has to be known: whether the process lives, and that it is there."""
    READ = "read"
    """Read the sagas that the principal may see."""
    WATCH = "watch"
    """Read what is about the whole installation: metrics, the system, the log."""
    PAYLOADS = "payloads"
    """See inputs, results, errors and reasons; without it they are shown as `(redacted)`."""
    START = "start"
    """Start a saga."""
    SIGNAL = "signal"
    """Send a signal."""
    REPLY = "reply"
    """Tell what a call came to: the URL of the reply has it, and no role."""
    CALL = "call"
    """Call what the application serves to other services."""
    OPERATE = "operate"
    """Pause, resume, retry, cancel."""
    RESOLVE = "resolve"
    """Decide what a saga counts as: skip, replace an input, give up, resolve, migrate."""
    ADMINISTER = "administer"
    """Keys, imports, archives, and the database itself."""
    AUDIT = "audit"
    """Verify and seal the log."""


Declared = Permission | Mapping[str, Permission]
"""The permission of a route; or one for each value of its argument `name`."""

DECLARED = "saga_es_permission"
"""The attribute of a function, or of a blueprint for all its routes, that says what it asks for."""


def permits(permission: Declared) -> Callable[[F], F]:
    """Declare what a route asks for. It is the innermost decorator: the others carry on what it says.

    Args:
        permission: What the caller must have.
    """

    def declare(route: F) -> F:
        setattr(route, DECLARED, permission)
        return route

    return declare
