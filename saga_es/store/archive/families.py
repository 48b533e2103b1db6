"""Families of finished sagas: a saga without a parent, with all its descendants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from saga_es.core.state import SagaStatus
from saga_es.store.database import Database
from saga_es.store.views.saga_view import sagas

AT_ONCE = 50
"""Families searched for in one query."""

Family = list[str]


class Over(msgspec.Struct, frozen=True):
    """Which families are archived.

    Attributes:
        before: The last event of the family is older than this.
        statuses: The statuses its sagas may have ended in.
    """

    before: datetime
    statuses: tuple[SagaStatus, ...]


def families_over(database: Database, over: Over) -> Iterator[Family]:
    """Families all of whose sagas are over; the oldest first.

    They are found in the view `sagas`. A view must not decide what cannot be undone: check each saga in the log.
    """
    after: tuple[datetime, str] | None = None
    while True:
        roots = _roots(database, over, after)
        yield from _whole(database, over, [saga_id for _, saga_id in roots])
        if len(roots) < AT_ONCE:
            return
        after = roots[-1]


def count_over(database: Database, over: Over) -> int:
    """How many sagas are over, including sagas whose family is not."""
    with database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(sagas).where(_is_over(over))) or 0


def _is_over(over: Over) -> sa.ColumnElement[bool]:
    return sagas.c.status.in_([status.value for status in over.statuses]) & (sagas.c.updated_at < over.before)


def _roots(database: Database, over: Over, after: tuple[datetime, str] | None) -> list[tuple[datetime, str]]:
    """The next sagas that are over and have no parent, or a parent that is not in the view."""
    parents = sagas.alias()
    is_root = sagas.c.parent.is_(None) | ~sa.exists().where(parents.c.saga_id == sagas.c.parent)
    query = sa.select(sagas.c.created_at, sagas.c.saga_id).where(is_root, _is_over(over))
    if after is not None:
        at, saga_id = after
        later = (sagas.c.created_at > at) | ((sagas.c.created_at == at) & (sagas.c.saga_id > saga_id))
        query = query.where(sagas.c.created_at >= at, later)
    with database.reading() as connection:
        rows = connection.execute(query.order_by(sagas.c.created_at, sagas.c.saga_id).limit(AT_ONCE))
        return [(row.created_at, row.saga_id) for row in rows]


def _whole(database: Database, over: Over, roots: Iterable[str]) -> Iterator[Family]:
    """The families of these roots in which every member is over."""
    families: dict[str, Family] = {root: [root] for root in roots}
    root_of = {root: root for root in families}
    generation = list(families)
    while generation:
        parents, generation = generation, []
        for child in _children(database, over, parents):
            root = root_of[child.saga_id] = root_of[child.parent]
            if not child.is_over:
                families.pop(root, None)
            elif root in families:
                families[root].append(child.saga_id)
                generation.append(child.saga_id)
    yield from families.values()


def _children(database: Database, over: Over, parents: Sequence[str]) -> Sequence[sa.Row[Any]]:
    query = sa.select(sagas.c.saga_id, sagas.c.parent, _is_over(over).label("is_over"))
    with database.reading() as connection:
        return connection.execute(query.where(sagas.c.parent.in_(parents))).all()
