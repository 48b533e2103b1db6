"""Which plans sagas are under way with, and the sagas of one plan."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from saga_es.core.state import UNFINISHED, SagaStatus
from saga_es.store.database import Database
from saga_es.store.views.saga_view import sagas

AT_ONCE = 500

_STILL_OPEN = sagas.c.status.in_([status.value for status in sorted({*UNFINISHED, SagaStatus.FAILED})])
"""A saga that is FAILED may yet be reopened."""


def plans_like(database: Database, start: str) -> list[str]:
    """The ids of plans that begin like this, of sagas that are unfinished or FAILED.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    query = sa.select(sagas.c.plan_id).distinct().where(_STILL_OPEN)
    with database.reading() as connection:
        return sorted(id_ for id_ in connection.scalars(query) if id_.startswith(start))


def sagas_of_plan(database: Database, plan_id: str) -> Iterator[list[str]]:
    """The ids of the unfinished and FAILED sagas of a plan, some hundreds at a time, in the order of their ids.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    last = ""
    while True:
        query = sa.select(sagas.c.saga_id).where(_STILL_OPEN, sagas.c.plan_id == plan_id, sagas.c.saga_id > last)
        with database.reading() as connection:
            found = list(connection.scalars(query.order_by(sagas.c.saga_id).limit(AT_ONCE)))
        if not found:
            return
        yield found
        last = found[-1]
