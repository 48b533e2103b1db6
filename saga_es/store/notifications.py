"""Bells: how a worker hears, within a moment, that somebody else appended to a saga it owns.

A bell is rung in the transaction that appends an order, so none is lost; the worker that owns the saga reads the
saga again and takes the bell away. The log stays the truth: a bell only says where to look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa

from saga_es.core.state import ENDED
from saga_es.store.database import Database
from saga_es.store.drivers.compiled import Write
from saga_es.store.tables import saga_bells
from saga_es.store.views.saga_view import sagas

HEARD_AT_ONCE = 500


class Bell(msgspec.Struct, frozen=True):
    """Something was appended to a saga, up to this version, by somebody who does not own it.

    Attributes:
        owner: The worker that owns the saga; None when none does.
        is_over: The saga has ended, or is none.
    """

    saga_id: str
    version: int
    owner: str | None
    is_over: bool


def ringing(rung: Sequence[tuple[str, int]]) -> list[Write]:
    """What rings for sagas at versions, in the transaction that appends them."""
    return [(_RING, [{"saga_id": saga_id, "version": version} for saga_id, version in rung])] if rung else []


class Bells:
    """The bells that nobody has answered yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def silent(self) -> bool:
        """Whether there is none at all: so it nearly always is, and it costs next to nothing to know."""
        return not self._database.look_up(_ANY, {})[0][0]

    def rung(self, worker_id: str) -> list[Bell]:
        """Those that a worker answers: of its own sagas, and of sagas that are over."""
        with self._database.reading() as connection:
            rows = connection.execute(_RUNG, {"worker_id": worker_id})
            return [Bell(row.saga_id, row.version, row.owner, row.status in (None, *ENDED)) for row in rows]

    def unclaimed(self, names: Collection[str]) -> bool:
        """Whether one was rung for a saga of these definitions that nobody owns; it is kept for whoever will."""
        with self._database.reading() as connection:
            return connection.execute(_UNCLAIMED, {"names": sorted(names)}).first() is not None

    def hush(self, bells: Sequence[Bell]) -> None:
        """Take bells away that were answered."""
        if bells:
            with self._database.writing() as connection:
                connection.execute(_HUSH, [{"id_": bell.saga_id, "at": bell.version} for bell in bells])


_ANY = sa.select(sa.exists().select_from(saga_bells))
_RING = sa.insert(saga_bells)
_HUSH = sa.delete(saga_bells).where(
    saga_bells.c.saga_id == sa.bindparam("id_"), saga_bells.c.version == sa.bindparam("at")
)
_RUNG = (
    sa.select(saga_bells.c.saga_id, saga_bells.c.version, sagas.c.owner, sagas.c.status)
    .select_from(saga_bells.outerjoin(sagas, sagas.c.saga_id == saga_bells.c.saga_id))
    .where(
        (sagas.c.owner == sa.bindparam("worker_id"))
        | sagas.c.status.in_([status.value for status in sorted(ENDED)])
        | sagas.c.saga_id.is_(None)
    )
    .order_by(saga_bells.c.saga_id, saga_bells.c.version)
    .limit(HEARD_AT_ONCE)
)
_UNCLAIMED = (
    sa.select(saga_bells.c.saga_id)
    .where(  # from the few bells to their sagas: of a join, SQLite would begin with all sagas of the names
        sa.exists().where(
            sagas.c.saga_id == saga_bells.c.saga_id,
            sagas.c.owner.is_(None),
            sagas.c.status.not_in([status.value for status in sorted(ENDED)]),
            sagas.c.name.in_(sa.bindparam("names", expanding=True)),
        )
    )
    .limit(1)
)
