"""A node that is opened and closed by a block, `with` or `async with`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Unpack

from saga_es.definition.saga import Saga
from saga_es.definition.schedules import Every
from saga_es.node.app import App, application
from saga_es.node.node import Node
from saga_es.node.reloader import is_reloader_parent
from saga_es.node.settings import Settings
from saga_es.node.settings_given import SettingsGiven
from saga_es.runtime.calls.around import Around
from saga_es.runtime.engine import Engine
from saga_es.store.views.kinds import Projection


class Opening:
    """Opens a node, gives its engine, and closes the node when the block ends.

    With `async with`, the event loop runs while the node opens and closes: steps that are awaited on this loop have the
    grace to finish.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def __enter__(self) -> Engine:
        self._node.open()
        return self._node.engine

    def __exit__(self, *_: object) -> None:
        self._node.close()

    async def __aenter__(self) -> Engine:
        await asyncio.to_thread(self._node.open)
        return self._node.engine

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._node.close)


def open_engine(
    database_url: str,
    *sagas: Saga,
    app: App | None = None,
    views: Sequence[Projection] = (),
    events: Mapping[str, Sequence[type[Any]]] = MappingProxyType({}),
    around: Around | Sequence[Around] = (),
    schedules: Sequence[Every] = (),
    loop: asyncio.AbstractEventLoop | None = None,
    carries_context: bool = False,
    **settings: Unpack[SettingsGiven],
) -> Opening:
    """Migrate the database and run an engine of these sagas; it closes when the block ends.

    Args:
        database_url: `sqlite:///file.db`, `postgresql://…`, `mysql://…` or `mariadb://…`.
        sagas: The definitions.
        app: A whole application, instead of sagas, views, events and schedules.
        views: Views of the log (see `saga_es.views`), kept beside the built-in ones.
        events: The event classes of each category of your own that you append to, or that a view reads.
        around: What stands around every call of a step; as for `App`, and so are `schedules` and `carries_context`.
        schedules: Sagas that are started at times.
        loop: The event loop for `async def` steps; by default the one in which `open_engine` is called, if there is
            one, else loops of the engine's own.
        carries_context: Whether steps get the context variables of the code that starts their saga.
        settings: Settings by name; see `Settings`.

    Raises:
        SettingsError: A setting is wrong.
        StoreUnavailable: The database did not answer.
        TypeError: Both an application and sagas, views, events or schedules are given.
    """
    named: dict[str, object] = {"views": views, "events": events, "around": around, "schedules": schedules}
    named |= {"loop": loop, "carries_context": carries_context}
    options = {name: given for name, given in named.items() if given}
    whole = application(app, sagas, **options)
    return Opening(
        Node(
            Settings.load({"database_url": database_url, **settings}),
            whole,
            recovers=not is_reloader_parent(),
            loop=_running_loop(),
        )
    )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
