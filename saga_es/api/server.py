"""Serve a node over HTTP: one process runs the engine and answers requests, so that one kill stops both."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from flask import Flask
from waitress.server import BaseWSGIServer

from saga_es.api import create_flask_app
from saga_es.api.listening import listen
from saga_es.api.prefix import Prefixed
from saga_es.api.waiting import Turns
from saga_es.errors import CannotServe
from saga_es.node.guarding import check_address
from saga_es.node.listening import listeners_of
from saga_es.node.node import Node
from saga_es.node.routes import has_route
from saga_es.node.shutdown import stop_gracefully_when_asked


def serve(
    node: Node,
    only: Collection[str] | None,
    ready: Callable[[str], None],
    pages: Callable[[Flask], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully.

    Args:
        node: The node to serve; it is opened first, which migrates the database and recovers sagas.
        only: The names of the blueprints to serve; by default all. Calls within this process always find all.
        ready: Receives the base URL once the server answers requests.
        pages: Adds further pages to what is served.

    Raises:
        Unguarded: Others can reach the address, and nobody has to be known.
        CannotServe: The address is taken, or is not an address of this machine.
    """
    check_address(node.settings.host, "--host / SAGA_ES_HOST", node.settings, node.authenticate)
    whole = create_flask_app(node)
    node.answer_calls_with(whole.wsgi_app, partial(has_route, whole))
    served = whole if only is None else create_flask_app(node, only)
    if pages is not None:
        pages(served)
    server = server_of(node, served)
    stop_gracefully_when_asked(node)
    listeners = listeners_of(node.settings, lambda: create_flask_app(node, _services(node, only)).wsgi_app)
    try:
        node.open(node.settings.database_wait_s)
        for listener in listeners:
            listener.open()
        ready(f"http://{node.settings.host}:{server.effective_port}")
        server.run()
    finally:
        server.close()
        for listener in listeners:
            listener.close(node.settings.grace_s)
        node.close()


def _services(node: Node, only: Collection[str] | None) -> set[str]:
    """What commands from a queue may reach: never the saga API, which would obey whoever may write to the queue."""
    return set(node.app.named_blueprints if only is None else only) - {"saga"}


def server_of(node: Node, app: Any) -> BaseWSGIServer:
    """A server that listens at the node's address, and serves an application once it runs.

    Raises:
        CannotServe: The address is taken, or is not an address of this machine.
    """
    settings = node.settings
    app = Prefixed(app, settings.trusted_proxies) if settings.trusted_proxies else app
    app = Turns(app, settings.threads, settings.waiting_requests)
    try:
        return listen(
            app,
            settings.host,
            settings.port,
            threads=settings.threads + settings.waiting_requests,
            payload_limit=settings.payload_limit,
            request_timeout_s=settings.request_timeout_s,
        )
    except (OSError, ValueError) as error:
        raise CannotServe(settings.host, settings.port, str(error)) from error
