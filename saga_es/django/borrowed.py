"""Django's connection as SQLAlchemy's: what is written on it is written in Django's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from saga_es.errors import SettingsError
from saga_es.store.database import Database


class _Borrowed:
    """A connection of the driver, of which Django decides when it commits, rolls back and closes."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def commit(self) -> None:
        """Django commits."""

    def rollback(self) -> None:
        """Django rolls back."""

    def close(self) -> None:
        """Django closes."""


def borrowed(raw: Any, database: Database) -> Connection:
    """The connection of a driver, as SQLAlchemy's: it sets nothing on it, and begins and ends no transaction.

    Args:
        raw: The connection, in a transaction.
        database: The same database, to which others are connected already.

    Raises:
        SettingsError: It is of another driver.
    """
    dialect = database.engine.dialect
    wanted = str(dialect.loaded_dbapi.__name__).partition(".")[0]
    if not any(kind.__module__.partition(".")[0] == wanted for kind in type(raw).__mro__):
        found = type(raw).__module__
        raise SettingsError([f"a start in Django's transaction needs Django to connect by {wanted}, not {found}"])
    pool = NullPool(lambda: _Borrowed(raw), dialect=dialect, reset_on_return=None)
    return Engine(pool, dialect, database.url).connect()
