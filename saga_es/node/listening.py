"""The queues from which a process takes commands for its services: the setting `listen`."""

from __future__ import annotations

from collections.abc import Callable

from saga_es.access.principal import Principal, Role
from saga_es.node.settings import Settings
from saga_es.queues.listening import Listener
from saga_es.runtime.calls.transport import WsgiApp

QUEUE_CALLER = Principal("saga_es", roles=[Role.SERVICE], via="queue")
"""Makes the calls that come from a queue: the broker has seen who may write to it."""


def listeners_of(settings: Settings, make_app: Callable[[], WsgiApp]) -> list[Listener]:
    """A listener for each queue of the settings.

    Args:
        settings: The settings.
        make_app: Makes the application that commands reach; called if there is a queue.
    """
    if not settings.queues:
        return []
    app = make_app()
    return [Listener(url, app, settings.threads, QUEUE_CALLER) for url in settings.queues]
