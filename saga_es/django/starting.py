"""The engine of the project, and starts in Django's transactions."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from sqlalchemy.engine import Connection

from saga_es.definition.saga import Saga
from saga_es.django.borrowed import borrowed
from saga_es.django.configured import alias, configured
from saga_es.errors import StoreUnavailable
from saga_es.node.node import Node
from saga_es.node.per_process import PerProcess
from saga_es.node.reloader import is_reloader_parent
from saga_es.node.settings import Settings
from saga_es.runtime.engine import Engine
from saga_es.runtime.handle import Handle


@cache
def nodes() -> PerProcess:
    """The nodes of the processes of this project."""

    def made() -> Node:
        app, given = configured()
        node = Node(Settings.load(given), app, recovers=not is_reloader_parent())
        node.answer_calls_with(get_wsgi_application(), None)
        return node

    return PerProcess(made)


def engine() -> Engine:
    """The engine of this process; its first use opens it, and it closes when the process ends.

    Raises:
        SettingsError: A setting is wrong.
        StoreUnavailable: The database did not answer.
    """
    return nodes().opened().engine


def close() -> None:
    """Close the engine now, as between tests; its next use opens another, by the settings of then."""
    nodes().close()
    nodes.cache_clear()


def start(
    saga: Saga | str,
    input: Any = None,  # noqa: A002 (as `Engine.start` has it)
    *,
    saga_id: str | None = None,
    key: str | None = None,
    tags: Mapping[str, str] | None = None,
    starts_at: datetime | None = None,
) -> Handle:
    """Start a saga. In `transaction.atomic()` it exists if and only if the transaction commits, and begins then.

    Elsewhere it returns when the start is in the log. The arguments, and what is raised, are those of `Engine.start`;
    if the transaction rolls back, the handle raises `NotFound`.
    """
    about: dict[str, Any] = {"saga_id": saga_id, "key": key, "tags": tags, "starts_at": starts_at}
    django = connections[alias()]
    if django.in_atomic_block and not nodes().is_open and not nodes().node.database.driver.has_server:
        why = "the engine is not open yet, and opens no file that a transaction of its own thread has locked"
        raise StoreUnavailable(f"{why}; call saga_es.django.engine() before the transaction")
    opened = nodes().opened()
    if not django.in_atomic_block:
        return opened.engine.start(saga, input, **about)
    connection = borrowed(django.connection, opened.database)
    handle = opened.engine.start(saga, input, connection=connection, **about)
    transaction.on_commit(_Ending(connection, handle), using=django.alias)
    return handle


class _Ending:
    """What Django calls when its transaction has committed, and throws away uncalled when it has rolled back."""

    def __init__(self, connection: Connection, handle: Handle) -> None:
        self._connection = connection
        self._rolled_back = weakref.finalize(self, handle.stop_looking)

    def __call__(self) -> None:
        """Tell those who listen to the connection; it writes nothing."""
        self._rolled_back.detach()
        self._connection.commit()
