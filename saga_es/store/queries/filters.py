"""Filters: which sagas a list shows.

Rows are found newest first, in the order of one index: by the first tag, else by parent, else paused sagas, else by
status and name, else all; the ages narrow the index. All other conditions are checked row by row, and no page checks
more than `pages.MOST_LOOKED_AT` rows: where few rows fit, the page is short, and its cursor continues after the last
row checked. So a page costs the same however many sagas there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from saga_es.core.access import Scope
from saga_es.store.queries.pages import Condition, Selection
from saga_es.store.views.saga_view import sagas
from saga_es.store.views.tags import BY, TENANT, saga_tags

MOST_TAGS = 20
LARGEST_AGE_S = 100 * 366 * 86_400.0
"""A century: older than any log."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class SagaFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions on a saga, all of which must hold; None: no condition.

    Attributes:
        tags: Names and values. Put the rarest first: SQLite searches by the first tag, servers by the tag they choose.
        older_than_s: Its start is this many seconds ago, or more.
        newer_than_s: Its start is this many seconds ago, or less.
        error: A text within its error; case does not matter (on SQLite for ASCII letters only), and every character
            stands for itself.
        parent: The saga whose step it is.
        waits: Whether it only waits: for a time, a signal, a retry or a person; of several steps at once, the last
            that moved decides.
        changed_within_s: It changed last this many seconds ago, or less.
        scope: The sagas that the reader may see; None: all.
    """

    status: str | None = None
    name: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    older_than_s: float | None = None
    newer_than_s: float | None = None
    error: str | None = None
    paused: bool | None = None
    parent: str | None = None
    waits: bool | None = None
    changed_within_s: float | None = None
    scope: Scope | None = None


def sagas_where(wanted: SagaFilter, now: datetime) -> Selection:
    """The sagas that a filter selects, for `page`.

    Args:
        wanted: The filter.
        now: The time from which ages are counted.
    """
    wanted, limits = _within_scope(wanted)
    if not _can_be_stored(wanted):
        return Selection(sa.select(sagas), sagas.c.created_at, sagas.c.saga_id, (sa.false(),))
    if wanted.tags:  # found through the index of tags, which is newest first, too
        (name, value), *others = wanted.tags
        found = [saga_tags.c.name == name, saga_tags.c.value == value]
        table, index = saga_tags, "saga_tags_newest"
        fits = [*(_has_tag(*tag) for tag in others), *_looked_at(wanted), *limits]
    else:
        table, (index, found, fits) = sagas, _through_an_index(wanted)
        fits += limits
    if wanted.changed_within_s is not None:
        fits.append(sagas.c.updated_at >= now - timedelta(seconds=wanted.changed_within_s))
    newest = None if wanted.older_than_s is None else now - timedelta(seconds=wanted.older_than_s)
    if wanted.newer_than_s is not None:
        found.append(table.c.created_at >= now - timedelta(seconds=wanted.newer_than_s))
    rows = sa.select(sagas) if table is sagas else sa.select(sagas).join_from(saga_tags, sagas, _IS_TAGGED)
    return Selection(rows, table.c.created_at, table.c.saga_id, tuple(found), tuple(fits), index, newest)


def _within_scope(wanted: SagaFilter) -> tuple[SagaFilter, list[Condition]]:
    """The filter with what its scope can look up in an index, and the conditions for the rest."""
    scope = wanted.scope
    if scope is None:
        return wanted, []
    found = [(name, value) for name, value in ((BY, scope.by), (TENANT, scope.tenant)) if value]
    return replace(wanted, tags=(*found, *wanted.tags)), [*_of_no_tenant(scope), *_of_definitions(scope)]


def seen_by(scope: Scope | None) -> list[Condition]:
    """The conditions that hold of the rows of `sagas` in a scope."""
    if scope is None:
        return []
    tags = [(name, value) for name, value in ((BY, scope.by), (TENANT, scope.tenant)) if value]
    return [*(_has_tag(*tag) for tag in tags), *_of_no_tenant(scope), *_of_definitions(scope)]


def _of_no_tenant(scope: Scope) -> Iterator[Condition]:
    if not scope.tenant:
        yield _value_of(TENANT).is_(None)


def _of_definitions(scope: Scope) -> Iterator[Condition]:
    if scope.sagas is not None:
        yield sagas.c.name.concat("").in_(sorted(scope.sagas))


_IS_TAGGED = saga_tags.c.saga_id == sagas.c.saga_id


def _through_an_index(wanted: SagaFilter) -> tuple[str, list[Condition], list[Condition]]:
    """An index, the conditions that it satisfies, and the conditions to be checked row by row."""
    match wanted:
        case SagaFilter(parent=str(parent)):
            return "sagas_by_parent", [sagas.c.parent == parent], [*_looked_at(replace(wanted, parent=None))]
        case SagaFilter(paused=True):
            return "sagas_paused", [sagas.c.paused == sa.true()], [*_looked_at(replace(wanted, paused=None))]
        case SagaFilter(status=None, name=None, error=str()):
            return "sagas_with_error", [sagas.c.has_error == sa.true()], [*_looked_at(wanted)]
        case SagaFilter(status=None, name=None):
            index = "sagas_newest"
        case SagaFilter(status=None):
            index = "sagas_by_name"
        case SagaFilter(name=None):
            index = "sagas_by_status"
        case _:
            index = "sagas_by_name_and_status"
    found = [
        column == value
        for column in (sagas.c.status, sagas.c.name)
        if (value := getattr(wanted, column.name)) is not None
    ]
    return index, found, [*_looked_at(replace(wanted, status=None, name=None))]


def _looked_at(wanted: SagaFilter) -> Iterator[Condition]:
    # As expressions, which no index covers: the database must use the index we chose.
    for column in (sagas.c.status, sagas.c.name, sagas.c.parent):
        if (value := getattr(wanted, column.name)) is not None:
            yield column.concat("") == value
    if wanted.paused is not None:
        yield sa.func.coalesce(sagas.c.paused, sa.false()) == wanted.paused
    if wanted.waits is not None:
        yield sagas.c.wakes_at.is_not(None) if wanted.waits else sagas.c.wakes_at.is_(None)
    if wanted.error is not None:
        yield sagas.c.error.icontains(wanted.error, autoescape=True)


def _has_tag(name: str, value: str) -> Condition:
    # Not EXISTS: PostgreSQL would turn it into a join with all sagas that have that tag.
    return _value_of(name) == value


def _value_of(name: str) -> sa.ScalarSelect[str]:
    tag = saga_tags.alias()
    its = sa.select(tag.c.value).where(tag.c.saga_id == sagas.c.saga_id, tag.c.name == name)
    return its.scalar_subquery()


def _can_be_stored(wanted: SagaFilter) -> bool:
    """Whether a database could hold every text; no row has any other, and some databases would refuse the query."""
    texts = [wanted.status, wanted.name, wanted.error, wanted.parent, *(text for tag in wanted.tags for text in tag)]
    together = "".join(text for text in texts if text is not None)
    return "\0" not in together and together.encode(errors="ignore").decode() == together


# ── As people write it ───────────────────────────────────────────────────────────────────────────────────


def tag_of(text: str) -> tuple[str, str]:
    """The tag in `name:value`; the value may be empty, and may contain colons.

    Raises:
        ValueError: The text is no tag.
    """
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise ValueError(f"{text!a:.80} is no tag; write NAME:VALUE")
    return name, value


def age_s(text: str) -> float:
    """The seconds in `90`, `90s`, `10m`, `2h` or `3d`.

    Raises:
        ValueError: The text is no age, or longer than a century.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LARGEST_AGE_S:
        raise ValueError(f"{text!a:.80} is no age; write seconds, or 10m, 2h, 3d")
    return seconds
