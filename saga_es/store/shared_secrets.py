"""Secrets that the processes of one database share: rows of `saga_checkpoints` under names of their own.

Owns: that all processes have the same secret, whichever of them made it. Who may read the database can read it: it
keeps out nobody but those outside.
"""

from __future__ import annotations

import secrets

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.database import Database
from saga_es.store.drivers.driver import driver_of
from saga_es.store.host_time import host_now
from saga_es.store.tables import saga_checkpoints
from saga_es.store.views.checkpoints import SHARED

_AT_THE_END = 2**62
"""Its position: earlier versions take the row for the checkpoint of a view, which then is level with the log."""


class _Kept(msgspec.Struct, frozen=True):
    secret: str


def shared_secret(database: Database, name: str) -> bytes:
    """The secret of this name, which is made if there is none.

    Raises:
        StoreUnavailable: The database did not answer.
        sqlalchemy.exc.DBAPIError: There is none, and the role of the connection may not write.
    """
    with database.reading() as connection:
        found = _found(connection, name)
    if found is None:
        with database.writing() as connection:
            text = msgspec.json.encode(_Kept(secrets.token_hex(32))).decode()
            row = {"name": SHARED + name, "position": _AT_THE_END, "pending": text, "updated_at": host_now()}
            connection.execute(driver_of(connection.dialect).insert_unless_there(saga_checkpoints), row)
        with database.reading() as connection:
            found = _found(connection, name)
    assert found is not None, "it was made, or another process had made it"
    return found


def _found(connection: Connection, name: str) -> bytes | None:
    query = sa.select(saga_checkpoints.c.pending).where(saga_checkpoints.c.name == SHARED + name)
    text = connection.scalar(query)
    return None if text is None else bytes.fromhex(msgspec.json.decode(text, type=_Kept).secret)
