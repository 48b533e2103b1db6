"""Notifications: a worker learns within a moment that another process appended to a saga of its own.

A notification is written in the transaction that appends a command, so none is lost. The worker that owns the saga
reads the saga again and acknowledges the notification. The log stays the truth: a notification only says where to look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from saga_es.core.state import ENDED
from saga_es.store.database import Database
from saga_es.store.drivers.writes import Write
from saga_es.store.ports import READ_AT_ONCE, UNCLAIMED_AT_ONCE, Notification
from saga_es.store.tables import saga_bells, saga_workers
from saga_es.store.views.saga_view import sagas


def notify(reached: Sequence[tuple[str, int]]) -> list[Write]:
    """The writes that notify the owners of sagas, for the transaction that appends to them up to these versions."""
    return [(_NOTIFY, [{"saga_id": saga_id, "version": version} for saga_id, version in reached])] if reached else []


class Notifications:
    """The notifications that nobody has acknowledged yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_empty(self) -> bool:
        """Whether there are none at all: the usual case, at almost no cost."""
        return not self._database.look_up(_ANY, {})[0][0]

    def pending(self, worker_id: str) -> list[Notification]:
        """Those that a worker acknowledges: for its own sagas, and for sagas that are over."""
        with self._database.reading() as connection:
            rows = connection.execute(_PENDING, {"worker_id": worker_id})
            return [Notification(row.saga_id, row.version, row.owner, row.status in (None, *ENDED)) for row in rows]

    def unclaimed(self, names: Collection[str], plans_apart: Collection[str] = ()) -> list[str]:
        """Sagas of these definitions without a living owner that have one; it is kept for the next owner."""
        asked = {"names": sorted(names), "plans_apart": sorted(plans_apart)}
        with self._database.reading() as connection:
            sent = [row.saga_id for row in connection.execute(_SENT, asked)]
            found = sent or [row.saga_id for row in connection.execute(_STARTED, asked)]
        return list(dict.fromkeys(found))

    def acknowledge(self, notifications: Sequence[Notification]) -> None:
        """Remove notifications whose sagas were read."""
        if notifications:
            with self._database.writing() as connection:
                connection.execute(
                    _ACKNOWLEDGE,
                    [{"id_": notification.saga_id, "at": notification.version} for notification in notifications],
                )


_ANY = sa.select(sa.exists().select_from(saga_bells))
_NOTIFY = sa.insert(saga_bells)
_ACKNOWLEDGE = sa.delete(saga_bells).where(
    saga_bells.c.saga_id == sa.bindparam("id_"), saga_bells.c.version == sa.bindparam("at")
)
_PENDING = (
    sa.select(saga_bells.c.saga_id, saga_bells.c.version, sagas.c.owner, sagas.c.status)
    .select_from(saga_bells.outerjoin(sagas, sagas.c.saga_id == saga_bells.c.saga_id))
    .where(
        (sagas.c.owner == sa.bindparam("worker_id"))
        | sagas.c.status.in_([status.value for status in sorted(ENDED)])
        | sagas.c.saga_id.is_(None)
    )
    .order_by(saga_bells.c.saga_id, saga_bells.c.version)
    .limit(READ_AT_ONCE)
)


def _unclaimed(which: sa.ColumnElement[bool], is_orphan: sa.ColumnElement[bool], limit: int) -> sa.Select[tuple[str]]:
    is_unfinished = sagas.c.status.not_in([status.value for status in sorted(ENDED)])
    is_named = sagas.c.name.in_(sa.bindparam("names", expanding=True))
    is_known = is_named & sagas.c.plan_id.not_in(sa.bindparam("plans_apart", expanding=True))
    # From the few notifications to their sagas: a join in SQLite would begin with all sagas of the names.
    there = sa.exists().where(sagas.c.saga_id == saga_bells.c.saga_id, is_orphan, is_unfinished, is_known)
    return sa.select(saga_bells.c.saga_id).where(which, there).limit(limit)


_HAS_NO_OWNER = sagas.c.owner.is_(None)
_SENT = _unclaimed(
    saga_bells.c.version > 1,
    _HAS_NO_OWNER | sagas.c.owner.not_in(sa.select(saga_workers.c.worker_id)),
    UNCLAIMED_AT_ONCE,
)
_STARTED = _unclaimed(saga_bells.c.version == 1, _HAS_NO_OWNER, 1)
