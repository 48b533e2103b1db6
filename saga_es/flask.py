"""The Flask extension: sagas in an existing application.

sagas = SagaES(app, sagas=[order], url_prefix="/api/saga")
sagas.engine.start(order, {"amount": 20})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import click
from flask import Flask, current_app

from saga_es.cli import Commands
from saga_es.cli.inherited import Inherited
from saga_es.definition.saga import Saga
from saga_es.node.app import App, application
from saga_es.node.extras import check_server
from saga_es.node.health import NODE_UNOPENED
from saga_es.node.incoming import trace_of_request
from saga_es.node.node import Node
from saga_es.node.per_process import PerProcess
from saga_es.node.reloader import is_reloader_parent
from saga_es.node.routes import has_route
from saga_es.node.settings import PREFIX, Settings
from saga_es.runtime.engine import Engine

__all__ = ["SagaES"]

EXTENSION = "saga_es"


class SagaES:
    """The sagas of a Flask application, or of several: call `init_app` for each.

    A setting is an argument here, else `SAGA_ES_…` in the application's config, else an environment variable, else its
    default. The engine opens at its first use, in the process that uses it, and closes when that process ends.

    Args:
        app: The Flask application; None: call `init_app` later.
        saga_app: A whole saga application, instead of keywords.
        sagas: The definitions.
        url_prefix: The path of the saga API; None: the API is not served.
        console: Whether the console is served, at `/console/`; or its path. Without `auth`, who may see it may give
            commands: guard it like any page of yours that changes data.
        options: Attributes of `App` (`auth`, `views`, `events`, `upcasters`) and settings, by name.
    """

    def __init__(
        self,
        app: Flask | None = None,
        saga_app: App | None = None,
        *,
        sagas: Sequence[Saga] = (),
        url_prefix: str | None = "/api/saga",
        console: bool | str = False,
        **options: Any,
    ) -> None:
        settings = set(options) & set(Settings.__struct_fields__)
        settings -= (
            {"auth"} if callable(options.get("auth")) else set()
        )  # its name is a setting, a function is the App's
        self._flags = {name: options.pop(name) for name in settings}
        self._saga_app = application(saga_app, sagas, **options)
        self._url_prefix = url_prefix
        self._console = "/console" if console is True else console or None
        self._app = app
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the saga API and the commands `flask saga …` to a Flask application.

        Raises:
            NotInstalled: The saga API or the console is to be served, and what serves it is not installed.
            SettingsError: A setting is wrong.
        """
        of_config = {
            name: app.config[f"{PREFIX}{name.upper()}"]
            for name in Settings.__struct_fields__
            if f"{PREFIX}{name.upper()}" in app.config
        }
        flags = {**of_config, **self._flags}
        settings = Settings.load(flags)
        bound = _bound(app, lambda: Node(settings, self._saga_app, recovers=not is_reloader_parent()))
        app.extensions[EXTENSION] = bound
        if self._url_prefix is not None:
            check_server("to serve the saga API, or pass url_prefix=None")
            from saga_es.api.application import mount  # noqa: PLC0415 (an extra: without the API, nothing needs it)

            mount(bound.node, bound.opened, app, self._url_prefix)
        if self._console is not None:
            check_server("to serve the console, or leave it out")
            from saga_es.api.responses import NODE  # noqa: PLC0415 (an extra: without the console, nothing needs it)
            from saga_es.console import mount_console  # noqa: PLC0415 (an extra, like the API)

            app.extensions.setdefault(NODE, bound.opened)
            app.extensions.setdefault(NODE_UNOPENED, bound.node)
            mount_console(app, self._console, at_root=False)
        app.cli.add_command(_commands(flags, self._saga_app))

    @property
    def engine(self) -> Engine:
        """The engine of the application given to the constructor, else of the current one; its first use opens it.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        app = self._app or current_app
        bound: PerProcess = app.extensions[EXTENSION]
        return bound.opened().engine

    def close(self) -> None:
        """Close the engine now instead of at the end of the process, as when a server ends its lifespan.

        Its next use opens another. It is the engine of the application given to the constructor, else of the current
        one.
        """
        app = self._app or current_app
        bound: PerProcess = app.extensions[EXTENSION]
        bound.close()


def _commands(flags: Mapping[str, Any], saga_app: App) -> click.Group:
    """`flask saga …`: the commands of `saga-es`, with the settings and sagas of the application."""

    @click.group("saga", cls=Commands)
    @click.pass_context
    def saga(context: click.Context) -> None:
        """Read, command and run sagas."""
        context.obj = Inherited(flags, saga_app)

    return saga


def _bound(app: Flask, make: Callable[[], Node]) -> PerProcess:
    """The node of a Flask application, in each process that uses it."""

    def made() -> Node:
        node = make()
        node.tracing.incoming = trace_of_request
        is_bare = app.wsgi_app == Flask.wsgi_app.__get__(app)  # no middleware, which may answer what has no route
        node.answer_calls_with(app.wsgi_app, partial(has_route, app) if is_bare else None)
        if NODE_UNOPENED in app.extensions:
            app.extensions[NODE_UNOPENED] = node
        return node

    return PerProcess(made)
