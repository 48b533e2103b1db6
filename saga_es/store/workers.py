"""The workers: one row each, with a heartbeat by the database's clock.

A row decides only whether a saga *may* be taken over. The log alone decides whether it *is*. So a wrong guess here
costs a little work, and never repeats any.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles

from saga_es.core.state import UNFINISHED, SagaStatus
from saga_es.store.database import Database
from saga_es.store.drivers.driver import driver_of
from saga_es.store.host_time import monotonic_s
from saga_es.store.ports import Orphan
from saga_es.store.process import Process
from saga_es.store.revision import HEAD, number
from saga_es.store.silence import Silence
from saga_es.store.tables import saga_workers
from saga_es.store.views.saga_view import sagas


class database_now(sa.sql.functions.FunctionElement[float]):  # noqa: N801 (named like the SQL function it is)
    """Seconds since 1970 by the clock of the database, the same for all workers."""

    type = sa.Double()
    inherit_cache = True


@compiles(database_now)
def _database_now(_element: Any, compiler: Any, **_: Any) -> str:
    return driver_of(compiler.dialect).clock


def living(connection: Connection, lease_s: float, *columns: sa.ColumnElement[Any]) -> list[sa.Row[Any]]:
    """The workers with a heartbeat within the lease whose process has not ended: their ids, and these columns."""
    c, now_s = saga_workers.c, database_now().label("now_s")
    query = sa.select(c.worker_id, c.host, c.pid, c.pid_started, c.heartbeat_at, now_s, *columns)
    rows = [row for row in connection.execute(query) if row.heartbeat_at >= row.now_s - lease_s]
    return [row for row in rows if not Process(row.host, row.pid, row.pid_started).is_gone()]


class Workers:
    """The table of workers.

    Args:
        lease_s: Seconds without a heartbeat after which a worker on another host counts as gone.
    """

    def __init__(self, database: Database, lease_s: float = 10.0) -> None:
        self._database = database
        self.lease_s = lease_s
        self._silence = Silence(lease_s)

    def beat(self, worker_id: str, process: Process, code: str | None = None) -> bool:
        """Record that this worker lives. True when it had no row: at its first beat, or after it counted as gone."""
        row = saga_workers.c.worker_id == worker_id
        with self._database.writing() as connection:
            touched = connection.execute(sa.update(saga_workers).where(row).values(heartbeat_at=database_now()))
        if touched.rowcount:
            return False
        # In a transaction of its own: MariaDB locks the gap where no row was found, and two that come would deadlock.
        values = {"worker_id": worker_id, **msgspec.structs.asdict(process), "heartbeat_at": database_now()}
        values |= {"code": code, "migration": number(HEAD)}
        with self._database.writing() as connection:
            connection.execute(sa.insert(saga_workers).values(values))
        return True

    def now_s(self) -> float:
        """The time by the database's clock, in seconds since 1970."""
        with self._database.reading() as connection:
            return float(connection.execute(sa.select(database_now())).scalar_one())

    def leave(self, worker_id: str) -> None:
        """Remove this worker's row: others may take over its unfinished sagas at once."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(saga_workers).where(saga_workers.c.worker_id == worker_id))

    def heartbeats(self) -> dict[str, float]:
        """The last heartbeat of each worker that has a row, living or not."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(saga_workers.c.worker_id, saga_workers.c.heartbeat_at))
            return {row.worker_id: row.heartbeat_at for row in rows}

    def codes(self) -> dict[str, str | None]:
        """The code of each living worker; None for a worker of an earlier version, which does not say."""
        with self._database.reading() as connection:
            return {row.worker_id: row.code for row in living(connection, self.lease_s, saga_workers.c.code)}

    def bury(self) -> list[str]:
        """Remove the workers that are gone: their process on this host has ended, or their lease has expired.

        A clock that has jumped makes nobody count as gone. A worker whose process lives on this host does so only when
        its heartbeat has stood still for a lease before the eyes of this process.
        """
        began = monotonic_s()
        with self._database.reading() as connection:
            found = connection.execute(sa.select(saga_workers, database_now().label("now_s"))).all()
        if not found:
            return []
        self._silence.look(
            {row.worker_id: row.heartbeat_at for row in found}, found[0].now_s, took_s=monotonic_s() - began
        )
        gone = [row.worker_id for row in found if self._is_gone(row)]
        if gone:
            with self._database.writing() as connection:
                connection.execute(sa.delete(saga_workers).where(saga_workers.c.worker_id.in_(gone)))
        return gone

    def _is_gone(self, row: sa.Row[Any]) -> bool:
        process = Process(row.host, row.pid, row.pid_started)
        if process.is_gone() or self._silence.stands_still(row.worker_id):
            return True
        is_expired = row.heartbeat_at < row.now_s - self.lease_s
        return is_expired and self._silence.trusts_database and not process.is_here()

    def orphans(
        self,
        limit: int,
        names: Collection[str],
        apart_from: Collection[str] = (),
        due_at: datetime | None = None,
        plans_apart: Collection[str] = (),
    ) -> dict[str, str | None]:
        """Unfinished sagas of these definitions without a living worker, with their last owners; oldest first."""
        query = _orphans(names, limit, plans_apart).where(sagas.c.saga_id.not_in(sorted(apart_from)))
        return self._found(query if due_at is None else query.where(_is_due(due_at)))

    def waiting_orphans(
        self,
        limit: int,
        names: Collection[str],
        plan_ids: Collection[str],
        not_due_at: datetime,
        plans_apart: Collection[str] = (),
    ) -> dict[str, str | None]:
        """The orphans that only wait; before them those of other plans than these, which may have a call in flight."""
        query = _orphans(names, limit, plans_apart).where(~_is_due(not_due_at))
        return self._found(query.order_by(None).order_by(sagas.c.plan_id.in_(sorted(plan_ids)), *_OLDEST_FIRST))

    def expired_orphans(self, limit: int, names: Collection[str], now: datetime) -> dict[str, str | None]:
        """The orphans that have not begun and whose deadline has passed, with their last owners; oldest first."""
        has_not_begun = (sagas.c.status == SagaStatus.PENDING.value) & sagas.c.paused.is_(sa.false())
        return self._found(_orphans(names, limit).where(has_not_begun, sagas.c.deadline_at <= now))

    def orphans_among(
        self, saga_ids: Collection[str], names: Collection[str], to_begin: Collection[str]
    ) -> dict[str, str | None]:
        """Which of these sagas are orphans of these definitions; PENDING ones of those `to_begin` alone."""
        query = sa.select(sagas.c.saga_id, sagas.c.owner).where(sagas.c.saga_id.in_(sorted(saga_ids)), _is_orphan())
        may_begin = (sagas.c.status != SagaStatus.PENDING.value) | _NAME.in_(sorted(to_begin))
        return self._found(query.where(_NAME.in_(sorted(names)), may_begin))

    def _found(self, query: sa.Select[tuple[str, str | None]]) -> dict[str, str | None]:
        with self._database.reading() as connection:
            return {row.saga_id: row.owner for row in connection.execute(query)}

    def orphans_of_plans(
        self, plans: Collection[str], names: Collection[str], limit: int, after: Orphan | None = None
    ) -> list[Orphan]:
        """Unfinished sagas of these plans without a living worker; oldest first, after the given one."""
        order = (sagas.c.created_at, sagas.c.saga_id)
        query = (
            sa.select(sagas.c.saga_id, sagas.c.owner, *order[:1], sagas.c.updated_at)
            .where(_is_orphan(), _NAME.in_(sorted(names)), sagas.c.plan_id.in_(sorted(plans)))
            .order_by(*order)
            .limit(limit)
        )
        if after is not None:
            created, id_ = order
            is_later = (created > after.created_at) | ((created == after.created_at) & (id_ > after.saga_id))
            query = query.where(is_later)
        with self._database.reading() as connection:
            return [Orphan(*row) for row in connection.execute(query)]

    def orphans_by_plan(self) -> dict[tuple[str, str], int]:
        """How many unfinished sagas have no living worker, by definition and plan."""
        columns = (sagas.c.name, sagas.c.plan_id)
        query = sa.select(*columns, sa.func.count().label("sagas")).where(_is_orphan()).group_by(*columns)
        with self._database.reading() as connection:
            return {(row.name, row.plan_id): row.sagas for row in connection.execute(query)}

    def moved_at(self, saga_ids: Sequence[str]) -> dict[str, datetime]:
        """When each of these sagas last changed; pass at most some hundreds."""
        query = sa.select(sagas.c.saga_id, sagas.c.updated_at).where(sagas.c.saga_id.in_(saga_ids))
        with self._database.reading() as connection:
            return {row.saga_id: row.updated_at for row in connection.execute(query)}

    def orphans_of_others(self, names: Collection[str]) -> dict[str, int]:
        """How many unfinished sagas of other definitions have no living worker, by name."""
        query = (
            sa.select(sagas.c.name, sa.func.count().label("sagas"))
            .where(_is_orphan(), sagas.c.name.not_in(sorted(names)))
            .group_by(sagas.c.name)
        )
        with self._database.reading() as connection:
            return {row.name: row.sagas for row in connection.execute(query)}


_NAME = sagas.c.name.concat(sa.literal_column("''"))
"""The name in a form that no index has: SQLite would read all sagas of a name, in order, to find the few unfinished."""

_OLDEST_FIRST = (sagas.c.created_at, sagas.c.saga_id)


def _orphans(
    names: Collection[str], limit: int, plans_apart: Collection[str] = ()
) -> sa.Select[tuple[str, str | None]]:
    query = sa.select(sagas.c.saga_id, sagas.c.owner).where(_is_orphan(), _NAME.in_(sorted(names)))
    if plans_apart:
        query = query.where(sagas.c.plan_id.not_in(sorted(plans_apart)))
    return query.order_by(*_OLDEST_FIRST).limit(limit)


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    is_late = sagas.c.deadline_at.is_not(None) & (sagas.c.deadline_at <= now)
    return sagas.c.wakes_at.is_(None) | (sagas.c.wakes_at <= now) | is_late


def _is_orphan() -> sa.ColumnElement[bool]:
    living = sa.select(saga_workers.c.worker_id)
    unfinished = sagas.c.status.in_([status.value for status in sorted(UNFINISHED)])
    return unfinished & (sagas.c.owner.is_(None) | sagas.c.owner.not_in(living))
