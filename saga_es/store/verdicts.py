"""What the last whole `saga-es verify` found, for metrics: a row of `saga_checkpoints` under a name of its own."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.database import Database
from saga_es.store.drivers.driver import driver_of
from saga_es.store.host_time import host_now
from saga_es.store.tables import saga_checkpoints, saga_events
from saga_es.store.views.checkpoints import VERDICT
from saga_es.store.workers import database_now

_NAME = f"{VERDICT}last"


class Verdict(msgspec.Struct, frozen=True):
    """The result of a verification.

    Attributes:
        differences: How many it found.
        at: When it ended: seconds since 1970, by the database's clock.
    """

    differences: int
    at: float


def record(database: Database, differences: int) -> None:
    """Record what a verification of the whole log and all views has found; it takes the place of the one before.

    Raises:
        StoreUnavailable: The database did not answer, or takes no writes from this role.
    """
    with database.writing() as connection:
        end = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(saga_events.c.position), 0)))
        now_s = connection.execute(sa.select(database_now())).scalar_one()
        verdict = msgspec.json.encode(Verdict(differences, now_s)).decode()
        row = {"position": end, "pending": verdict, "updated_at": host_now()}
        insert = driver_of(connection.dialect).insert_unless_there(saga_checkpoints)
        connection.execute(insert, {"name": _NAME, **row})
        connection.execute(sa.update(saga_checkpoints).where(saga_checkpoints.c.name == _NAME).values(row))


def last(connection: Connection) -> tuple[Verdict, float] | None:
    """The last verdict, and its age in seconds; None when nothing was ever verified as a whole."""
    query = sa.select(saga_checkpoints.c.pending, database_now().label("now")).where(saga_checkpoints.c.name == _NAME)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    verdict = msgspec.json.decode(row.pending, type=Verdict)
    return verdict, max(0.0, float(row.now) - verdict.at)
