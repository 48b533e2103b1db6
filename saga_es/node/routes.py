"""The routes of an application, as requests to it are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask  # an engine without an application does not load it

_VARIABLE = re.compile(r"<[^>]*>|{[^}]*}")
_SEVERAL = re.compile(r"<path[:(][^>]*>|{[^}]*:path}")


def has_route(app: Flask, method: str, path: str) -> bool:
    """Whether an application has a route that a request may mean; in doubt, it has.

    Args:
        app: The application.
        method: The method of the request.
        path: The path as it is written: `/rooms/{input[room]}`.
    """
    wanted = "/" + path.partition("?")[0].lstrip("/")
    return any(
        method in (rule.methods or {method}) and _may_meet(rule.rule, wanted) for rule in app.url_map.iter_rules()
    )


def _may_meet(rule: str, path: str) -> bool:
    if _SEVERAL.search(rule) or _SEVERAL.search(path):
        return _start(rule).startswith(_start(path)) or _start(path).startswith(_start(rule))
    ours, theirs = rule.rstrip("/").split("/"), path.rstrip("/").split("/")
    if len(ours) != len(theirs):
        return False
    pairs = zip(ours, theirs, strict=True)
    return all(one == other or _VARIABLE.search(one) or _VARIABLE.search(other) for one, other in pairs)


def _start(path: str) -> str:
    """What stands before the first name."""
    return _VARIABLE.split(path, maxsplit=1)[0]
