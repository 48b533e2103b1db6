"""A migration that contracts: it takes away what earlier versions need, so it waits until no worker of them lives."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import StillNeeded
from saga_es.store import registry
from saga_es.store.drivers.names import full
from saga_es.store.revision import FIRST_RELEASED, HEAD, since
from saga_es.store.tables import saga_workers
from saga_es.store.workers import living

SHOWN = 5
"""The workers that are named."""


def refuse_to_shut_out(connection: Connection, at: str | None, lease_s: float) -> None:
    """Check that every living worker can work on once the database is migrated to this version.

    Processes that only start sagas have no row, and are not seen here.

    Args:
        connection: A connection to the database.
        at: The migration that the database is at.
        lease_s: Seconds without a heartbeat after which a worker on another host counts as gone.

    Raises:
        StillNeeded: Some know only migrations before the oldest with whose code processes can work at this one.
    """
    if at is None or not registry.exists(connection, str(saga_workers.name)):
        return
    shut_out = {id_: known for id_, known in _known(connection, lease_s).items() if known < since(HEAD)}
    if shut_out:
        raise StillNeeded(at, HEAD, _why(shut_out))


def _known(connection: Connection, lease_s: float) -> dict[str, str]:
    """Up to which migration each living worker knows the tables."""
    says = "migration" in registry.columns_in(connection, full(connection, str(saga_workers.name)))
    column = saga_workers.c.migration if says else sa.null()
    rows = living(connection, lease_s, column.label("known"))
    return {row.worker_id: row.known or FIRST_RELEASED for row in rows}


def _why(shut_out: Mapping[str, str]) -> str:
    shown = ", ".join(f"{worker} (knows {known})" for worker, known in list(shut_out.items())[:SHOWN])
    more = f" and {len(shut_out) - SHOWN} more" if len(shut_out) > SHOWN else ""
    return (
        f"and the migration to {HEAD} takes away what versions before {since(HEAD)} need; nothing was changed. "
        f"Living workers of such versions: {len(shut_out)}: {shown}{more}. "
        f"Replace them with a version that knows {since(HEAD)}, or stop them, and repeat this"
    )
