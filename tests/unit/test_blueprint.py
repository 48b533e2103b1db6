"""Blueprints: what their decorators make of what a route returns, and what they say of it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Response
from flask.testing import FlaskClient
from flask_smorest import Api
from marshmallow import Schema, fields

from saga_es.api import Blueprint
from saga_es.api.application import Application


class RoomSchema(Schema):
    """A room, of which not all is told."""

    number = fields.Integer(required=True)


blueprint = Blueprint("rooms", __name__)


@blueprint.get("/dumped")
@blueprint.doc(summary="A room")
@blueprint.response(201, RoomSchema)
@blueprint.alt_response(409, description="Taken")
def dumped() -> dict[str, Any]:
    """What is no answer yet is made one."""
    return {"number": 7, "secret": "x"}


@blueprint.get("/with-headers")
@blueprint.response(200, RoomSchema)
def with_headers() -> tuple[dict[str, Any], int, dict[str, str]]:
    """The same, with more to say."""
    return {"number": 7}, 203, {"X-Floor": "3"}


@blueprint.get("/answered")
@blueprint.alt_response(409, description="Taken")
@blueprint.response(200, RoomSchema)
def answered() -> Response:
    """What is an answer stays it."""
    return Response("full", 409)


@blueprint.get("/awaited")
@blueprint.doc(summary="Awaited")
@blueprint.response(200, RoomSchema)
@blueprint.alt_response(409, description="Taken")
async def awaited() -> dict[str, Any]:
    """A function that is to be waited for."""
    return {"number": 8}


class Waiting(Application):
    """Waits for a function in the simplest way; Flask's own takes a library that is not installed here."""

    def async_to_sync(self, func: Any) -> Any:
        """Drive it to its end: it awaits nothing."""

        def sync(*args: Any, **kwargs: Any) -> Any:
            try:
                func(*args, **kwargs).send(None)
            except StopIteration as ended:
                return ended.value
            raise AssertionError("it awaits something")

        return sync


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application with these routes."""
    app = Waiting("rooms")
    app.config.update({"API_TITLE": "rooms", "API_VERSION": "1", "OPENAPI_VERSION": "3.1.0"})
    app.config.update({"OPENAPI_URL_PREFIX": "/", "OPENAPI_JSON_PATH": "openapi.json"})
    Api(app).register_blueprint(blueprint)
    return app.test_client()


def test_what_a_route_returns_goes_through_its_schema(client: FlaskClient) -> None:
    """With the status that the route documents, or its own."""
    assert (client.get("/dumped").status_code, client.get("/dumped").json) == (201, {"number": 7})
    more = client.get("/with-headers")
    assert (more.status_code, more.json, more.headers["X-Floor"]) == (203, {"number": 7}, "3")


def test_an_answer_is_left_as_it_is(client: FlaskClient) -> None:
    """Whatever was documented."""
    assert (client.get("/answered").status_code, client.get("/answered").text) == (409, "full")


def test_a_route_may_be_async(client: FlaskClient) -> None:
    """It is waited for, in the first request as in the next."""
    assert [client.get("/awaited").json for _ in range(2)] == [{"number": 8}, {"number": 8}]


def test_each_decorator_is_in_the_document(client: FlaskClient) -> None:
    """Also those that are passed over in a request."""
    paths = client.get("/openapi.json").get_json()["paths"]
    assert paths["/dumped"]["get"]["summary"] == "A room"
    assert {"201", "409"} <= set(paths["/dumped"]["get"]["responses"])
    assert {"200", "409"} <= set(paths["/answered"]["get"]["responses"])
    assert {"200", "409"} <= set(paths["/awaited"]["get"]["responses"])
