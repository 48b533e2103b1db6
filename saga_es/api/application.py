"""The Flask application: blueprints, the OpenAPI document with its pages, problems, and limits."""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any

from flask import Flask, Response, current_app, request
from flask_smorest import Api, Blueprint

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import admit, guard_access_to
from saga_es.api.guards import guard, with_headers
from saga_es.api.health import health_blueprint
from saga_es.api.problems import ProblemSchema, register_problem_handlers
from saga_es.api.replies import saga_blueprint
from saga_es.api.requests_counted import count_requests
from saga_es.api.responses import NODE, json_response
from saga_es.api.viewer import viewer_blueprint
from saga_es.node.health import NODE_UNOPENED
from saga_es.node.incoming import trace_of_request
from saga_es.node.node import Node

CONFIG_PREFIX = "SAGA_ES_"
"""The prefix of our flask-smorest settings in an application that may have settings of its own."""


class ProblemApi(Api):  # type: ignore[misc]  # the library is untyped
    """The OpenAPI document, with our problems instead of the library's errors."""

    ERROR_SCHEMA = ProblemSchema

    def _register_responses(self) -> None:
        self.DEFAULT_RESPONSE_CONTENT_TYPE = "application/problem+json"  # only errors are registered here
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE

    @permits(Permission.READ)
    def _openapi_json(self) -> Response:
        """The document; behind a proxy with a prefix, its paths are below that prefix."""
        document: dict[str, Any] = self.spec.to_dict()
        if request.script_root:
            document["servers"] = [{"url": request.script_root}]
        node: Node = current_app.extensions[NODE_UNOPENED]
        if node.authenticate is not None:
            ask_for_credentials(document)
        return with_headers(json_response(document))  # also in an application of the user's

    def _register_error_handlers(self) -> None:
        """Leave errors to `register_problem_handlers`."""


def ask_for_credentials(document: dict[str, Any]) -> None:
    """Say in a document that requests need credentials, and how they are answered without."""
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"bearer": []}]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        answer = {"description": status.phrase, "content": problem}
        for path, item in document["paths"].items():
            for operation in (found for verb, found in item.items() if verb in VERBS and path != "/"):
                operation["responses"][str(status.value)] = answer


VERBS = {"get", "post", "put", "patch", "delete"}


class Application(Flask):
    """Flask that checks each function for `async def` only once, not ten times a request."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._plain: set[Callable[..., Any]] = set()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function; an `async def` is wrapped so that it blocks."""
        if func in self._plain:
            return func
        if iscoroutinefunction(func):
            return super().ensure_sync(func)
        self._plain.add(func)
        return func


def create_flask_app(node: Node, only: Collection[str] | None = None) -> Flask:
    """Make the Flask application of a node.

    Args:
        node: The node that requests use; they find it with `saga_es.api.node`.
        only: The names of the blueprints to serve; by default all.
    """
    app = Application("saga_es")
    app.url_map.merge_slashes = False
    app.extensions[NODE] = lambda: node
    app.extensions[NODE_UNOPENED] = node
    node.tracing.incoming = trace_of_request
    app.config.update(_configuration(node))
    api = ProblemApi(app)
    named = node.app.named_blueprints
    if not named:
        api.register_blueprint(saga_blueprint)  # without an application, sagas can still be read
    picked = [blueprints for name, blueprints in named.items() if only is None or name in only]
    for blueprint in (blueprint for blueprints in [node.app.everywhere, *picked] for blueprint in blueprints):
        if isinstance(blueprint, Blueprint):
            api.register_blueprint(blueprint)
        else:  # one of Flask's own: it has no place in the OpenAPI document
            app.register_blueprint(blueprint)
    app.register_blueprint(viewer_blueprint, url_prefix="/docs")
    app.register_blueprint(health_blueprint)
    register_problem_handlers(app)
    guard(app, node.settings, admit)
    count_requests(node, app)
    return app


def mount(node: Node, opened: Callable[[], Node], app: Flask, url_prefix: str) -> None:
    """Serve the saga API of a node in an existing application, below a prefix, and change nothing else there.

    Args:
        node: The node that requests use.
        opened: Returns the node, opened; every request calls it, so that the first request can open the node.
        app: The application; its error handlers, configuration and OpenAPI document stay as they are.
        url_prefix: The prefix, such as `/api/saga`.
    """
    app.extensions[NODE] = opened
    ours = {name: setting for name, setting in _configuration(node).items() if name.startswith(("API_", "OPENAPI_"))}
    ours["OPENAPI_URL_PREFIX"] = url_prefix
    app.config.update({f"{CONFIG_PREFIX}{name}": setting for name, setting in ours.items()})
    theirs = set(app.blueprints)
    ProblemApi(app, config_prefix=CONFIG_PREFIX).register_blueprint(saga_blueprint, url_prefix=url_prefix)
    app.extensions[NODE_UNOPENED] = node
    app.register_blueprint(health_blueprint, url_prefix=url_prefix)
    guard_access_to(app, *(set(app.blueprints) - theirs))


def _configuration(node: Node) -> dict[str, Any]:
    return {
        "MAX_CONTENT_LENGTH": node.settings.payload_limit,
        "API_TITLE": node.app.name,
        "API_VERSION": node.app.version,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
    }
