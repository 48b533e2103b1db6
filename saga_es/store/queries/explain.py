"""What the table of workers says about a saga's owner, for `core/explain.py`."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from saga_es.core.explain import Worker
from saga_es.store.database import Database
from saga_es.store.process import Process
from saga_es.store.tables import saga_workers
from saga_es.store.workers import database_now


def worker_of(database: Database, worker_id: str, lease_s: float) -> Worker:
    """The state of a worker, by the database's clock.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    found = workers_of(database, [worker_id], lease_s)
    return found.get(worker_id) or Worker(None, is_gone=True, lease_s=lease_s)


def workers_of(database: Database, worker_ids: Collection[str], lease_s: float) -> dict[str, Worker]:
    """The state of each of these workers that has a row, by the database's clock.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    if not worker_ids:
        return {}
    silent_s = (database_now() - saga_workers.c.heartbeat_at).label("silent_s")
    query = sa.select(saga_workers, silent_s).where(saga_workers.c.worker_id.in_(sorted(worker_ids)))
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return {
        row.worker_id: Worker(
            max(0.0, row.silent_s), is_gone=Process(row.host, row.pid, row.pid_started).is_gone(), lease_s=lease_s
        )
        for row in rows
    }
