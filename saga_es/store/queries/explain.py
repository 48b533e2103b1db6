"""What the table of workers says about a saga's owner, for `core/explain.py`."""

from __future__ import annotations

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
    silent_s = (database_now() - saga_workers.c.heartbeat_at).label("silent_s")
    query = sa.select(saga_workers, silent_s).where(saga_workers.c.worker_id == worker_id)
    with database.reading() as connection:
        found = connection.execute(query).one_or_none()
    if found is None:
        return Worker(None, is_gone=True, lease_s=lease_s)
    process = Process(found.host, found.pid, found.pid_started)
    return Worker(max(0.0, found.silent_s), is_gone=process.is_gone(), lease_s=lease_s)
