"""The reason in an error's answer, as people should read it, whatever form the participant gave it."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from saga_es.runtime.calls.answers import Answer

BEGINNING = 200
"""The characters that are shown of a body in which no reason is found."""

_WORDS = (
    "error_description",  # OAuth (RFC 6749, 5.2)
    "detail",  # problem documents (RFC 9457), Django, FastAPI
    "message",  # Spring, Express, AWS
    "msg",
    "reason",
    "error",
    "title",
    "description",
    "faultstring",
    "errors",  # JSON:API, GraphQL
)
"""The members in which a reason is looked for, the most telling first."""

_DEEPEST = 5
_MOST_REASONS = 3
_TITLE = re.compile(rb"<(title|h1|faultstring)\b[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)


def reason_of(answer: Answer) -> str:
    """The reason that an answer gives; else the beginning of its body."""
    location = answer.headers.get("location")
    if answer.status // 100 == 3 and location:  # noqa: PLR2004 (the class of redirects)
        return f"it redirects to {_without_secrets(location)}, and redirects are not followed"
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _of_page(answer.body) or _beginning(answer.body)
    return _of_json(body) or _beginning(answer.body)


def _of_json(body: Any) -> str | None:
    if body == {}:
        return "no detail"
    said = _said(body)
    if said is None or not isinstance(body, dict):
        return said
    code, errors = body.get("error"), body.get("errors")
    if isinstance(code, str) and body.get("error_description") == said:
        return f"{code}: {said}"
    return f"{said} {errors}" if errors and said != _said(errors) else said


def _said(value: Any, depth: int = 0) -> str | None:
    """The words in a value: a text, or the most telling member, however deep it stands."""
    match value:
        case str():
            return value.strip() or None
        case dict() if depth < _DEEPEST:
            members = {str(name).lower(): member for name, member in value.items()}
            found = (_said(members.get(name), depth + 1) for name in _WORDS)
            return next((words for words in found if words), None)
        case list() if depth < _DEEPEST:
            found = (_said(member, depth + 1) for member in value[:_MOST_REASONS])
            return "; ".join(words for words in found if words) or None
        case _:
            return None


def _of_page(body: bytes) -> str | None:
    found = _TITLE.search(body)
    words = html.unescape(re.sub(r"<[^>]*>", " ", found[2].decode(errors="replace"))) if found else ""
    return " ".join(words.split())[:BEGINNING] or None


def _beginning(body: bytes) -> str:
    return body[:BEGINNING].decode(errors="replace") or "no body"


def _without_secrets(location: str) -> str:
    """A URL without user, password and query: what is sent elsewhere may be a token."""
    try:
        parts = urlsplit(location)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    except ValueError:
        return "a place that cannot be read"
    return f"{shown[:BEGINNING]}{'?…' if parts.query else ''}"
