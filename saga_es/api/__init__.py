"""The HTTP API of the engine, and the building blocks for an application's own blueprints."""

from saga_es.access import Permission, Principal, Role, permits
from saga_es.node.extras import check_server

try:
    from saga_es.api.access import principal
    from saga_es.api.application import create_flask_app
    from saga_es.api.blueprint import Blueprint
    from saga_es.api.execution import EXECUTION_HEADERS, ExecutionSchema, StartedSchema, execute
    from saga_es.api.fields import Day, Id, Number, Text, Truth
    from saga_es.api.past import PositionSchema, views_as_of
    from saga_es.api.problems import Problem
    from saga_es.api.replies import saga_blueprint
    from saga_es.api.responses import PageSchema, json_response, node, page_of
    from saga_es.api.sagas import summaries
    from saga_es.store.queries.pages import page
except ModuleNotFoundError:
    check_server("to serve")  # it says how to get what is missing
    raise

__all__ = [
    "EXECUTION_HEADERS",
    "Blueprint",
    "Day",
    "ExecutionSchema",
    "Id",
    "Number",
    "PageSchema",
    "Permission",
    "PositionSchema",
    "Principal",
    "Problem",
    "Role",
    "StartedSchema",
    "Text",
    "Truth",
    "create_flask_app",
    "execute",
    "json_response",
    "node",
    "page",
    "page_of",
    "permits",
    "principal",
    "saga_blueprint",
    "summaries",
    "views_as_of",
]
