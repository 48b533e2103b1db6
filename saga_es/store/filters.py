"""Which sagas a list shows.

Rows are found newest first, in the order of an index, and those that do not fit are passed over. What is cheap is
what an index finds: a status or a name, a tag, the ages. Anything else is looked at row by row until the page is
full: `paused`, `parent`, and `error` above all, which reads every text it passes. Where few sagas fit, that is the
whole view, or as much of it as a cheap filter beside it leaves: ask for the errors of the FAILED ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from saga_es.store.pages import Selection
from saga_es.store.saga_view import sagas
from saga_es.store.tags import saga_tags

MOST_TAGS = 20
LARGEST_AGE_S = 100 * 366 * 86_400.0
"""A century: older than any log."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class SagaFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What must all hold of a saga; None: anything.

    Attributes:
        tags: Names and values. Put the rarest first: SQLite looks up that one, servers the one they think best.
        older_than_s: Its start is so many seconds ago, or more.
        newer_than_s: Its start is so many seconds ago, or less.
        error: A part of its error; small and capital letters are the same (on SQLite those of ASCII), and every
            character stands for itself.
        parent: The saga it is a step of.
    """

    status: str | None = None
    name: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    older_than_s: float | None = None
    newer_than_s: float | None = None
    error: str | None = None
    paused: bool | None = None
    parent: str | None = None


def sagas_where(wanted: SagaFilter, now: datetime) -> Selection:
    """The sagas that a filter lets through, for `page`.

    Args:
        wanted: The filter.
        now: What ages are counted from.
    """
    rows, created_at, key = sa.select(sagas), sagas.c.created_at, sagas.c.saga_id
    if wanted.tags:  # found through the index of tags, which has them newest first, too
        (name, value), *others = wanted.tags
        created_at, key = saga_tags.c.created_at, saga_tags.c.saga_id
        rows = rows.join_from(saga_tags, sagas, key == sagas.c.saga_id)
        rows = rows.where(saga_tags.c.name == name, saga_tags.c.value == value)
        rows = rows.where(*(_has_tag(key, *tag) for tag in others))
    if wanted.older_than_s is not None:
        rows = rows.where(created_at <= now - timedelta(seconds=wanted.older_than_s))
    if wanted.newer_than_s is not None:
        rows = rows.where(created_at >= now - timedelta(seconds=wanted.newer_than_s))
    rows = rows.where(*_of_the_row(wanted)) if _can_be_stored(wanted) else rows.where(sa.false())
    return Selection(rows, created_at, key)


def _of_the_row(wanted: SagaFilter) -> Iterator[sa.ColumnElement[bool]]:
    for column in (sagas.c.status, sagas.c.name, sagas.c.paused, sagas.c.parent):
        if (value := getattr(wanted, column.name)) is not None:
            yield column == value
    if wanted.error is not None:
        yield sagas.c.error.icontains(wanted.error, autoescape=True)


def _has_tag(saga_id: sa.Column[str], name: str, value: str) -> sa.ColumnElement[bool]:
    tag = saga_tags.alias()
    return sa.exists().where(tag.c.saga_id == saga_id, tag.c.name == name, tag.c.value == value)


def _can_be_stored(wanted: SagaFilter) -> bool:
    """Whether every text is one that a database could hold; no row has another, and some would not even be asked."""
    texts = [wanted.status, wanted.name, wanted.error, wanted.parent, *(text for tag in wanted.tags for text in tag)]
    together = "".join(text for text in texts if text is not None)
    return "\0" not in together and together.encode(errors="ignore").decode() == together


# ── As people write it ───────────────────────────────────────────────────────────────────────────────────


def tag_of(text: str) -> tuple[str, str]:
    """The tag in `name:value`; the value may be empty, and hold more colons.

    Raises:
        ValueError: There is none.
    """
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise ValueError(f"{text!a:.80} is no tag; write NAME:VALUE")
    return name, value


def age_s(text: str) -> float:
    """The seconds in `90`, `90s`, `10m`, `2h` or `3d`.

    Raises:
        ValueError: It is no age, or longer than a century.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LARGEST_AGE_S:
        raise ValueError(f"{text!a:.80} is no age; write seconds, or 10m, 2h, 3d")
    return seconds
