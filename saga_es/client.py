"""`open_client`, for processes that start and command sagas and run none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from saga_es.definition.saga import Saga
from saga_es.node.app import App, application
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.intake.client import Client
from saga_es.store.admin import migrate

__all__ = ["Client", "open_client"]


@contextmanager
def open_client(database_url: str, *sagas: Saga, app: App | None = None, **settings: Any) -> Iterator[Client]:
    """Open a client of the sagas on this database; its connections close when the block ends.

    It never migrates the database: workers and `saga-es db upgrade` do.

    Args:
        database_url: `sqlite:///file.db`, `postgresql://…`, `mysql://…` or `mariadb://…`.
        sagas: The definitions that the client can start; all other calls need none.
        app: A whole application, instead of sagas.
        settings: Settings by name; see `Settings`.

    Raises:
        SettingsError: A setting is wrong.
        NotMigrated: The database does not have the tables of this version.
        StoreUnavailable: The database did not answer.
    """
    loaded = Settings.load({"database_url": database_url, **settings})
    node = Node(loaded, application(app, sagas))
    try:
        migrate.check(node.database)
        yield node.client
    finally:
        node.database.close()
