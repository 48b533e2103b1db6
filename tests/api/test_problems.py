"""Errors: every one is a problem document, tells the caller what to do, and nothing about our insides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Response
from flask.testing import FlaskClient
from flask_smorest import Blueprint
from werkzeug.test import TestResponse

import services
from saga_es import App
from tests.api.conftest import OpenNode, Served, opened
from tests.api.test_execute import EXECUTE, body_of
from tests.support.databases import fresh_database
from tests.support.logged import captured_logs
from tests.support.relay import Relay

SECRET = "postgresql://admin:hunter2@db.internal/prod"
MEMBERS = {"type", "title", "status", "detail"}


def assert_problem(response: TestResponse, status: int) -> None:
    """The response is a problem document with every member, and its status is the HTTP status."""
    body = body_of(response, status)
    assert response.content_type == "application/problem+json"
    assert body.keys() >= MEMBERS
    assert body["status"] == status
    assert all(isinstance(body[member], str) and body[member] for member in ("type", "title", "detail"))


# ── What is asked wrongly ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/nowhere", "/api/saga", "/api/event/a/b", "/demo/nothing", "/api/saga/list/"])
def test_an_unknown_path_is_a_404(kept_client: FlaskClient, path: str) -> None:
    """As a problem, not as a page."""
    assert_problem(kept_client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/saga/list", {"GET", "HEAD", "OPTIONS"}),
        ("GET", EXECUTE, {"POST", "OPTIONS"}),
        ("PUT", "/api/event/register", {"POST", "OPTIONS"}),
        ("POST", "/api/venue/rollback/x", {"DELETE", "OPTIONS"}),
        ("POST", "/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_not_allowed_is_a_405_that_names_the_allowed_ones(
    kept_client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    """RFC 9110, 15.5.6: the header Allow lists them."""
    # GET /api/event/register reads the record `register`, so PUT stands for the method that no route has.
    response = kept_client.open(path, method=method)
    assert_problem(response, 405)
    assert set(response.headers["Allow"].replace(" ", "").split(",")) >= allowed - {"HEAD", "OPTIONS"}


def test_malformed_json_is_a_400(kept_client: FlaskClient) -> None:
    """As a problem."""
    assert_problem(kept_client.post(EXECUTE, data=b"{", content_type="application/json"), 400)


def test_another_content_type_is_a_415(kept_client: FlaskClient) -> None:
    """As a problem, on every route with a body."""
    for path in (EXECUTE, "/api/event/register", "/demo/simulate-failure"):
        assert_problem(kept_client.post(path, data=b"<xml/>", content_type="application/xml"), 415)


def test_bad_fields_are_a_422_with_messages_by_field(kept_client: FlaskClient) -> None:
    """`errors` maps each field to a list of messages."""
    response = kept_client.post(EXECUTE, json={"duration": 0})
    assert_problem(response, 422)
    errors = response.get_json()["errors"]
    assert set(errors) == {"name", "duration"}
    assert all(isinstance(said, list) and all(isinstance(text, str) for text in said) for said in errors.values())


def test_a_problem_without_fields_at_fault_has_no_errors(kept_client: FlaskClient) -> None:
    """The member is there only where it says something."""
    assert "errors" not in kept_client.get("/nowhere").get_json()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"tags": {"shop": "x" * 1000}}, "the name of a tag has"),
        ({"key": "\ud800"}, "no unpaired surrogate"),
        ({"saga_id": "\ud800"}, "without NUL and unpaired surrogates"),
        ({"starts_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))}, "year 1 to 9999"),
    ],
    ids=["tags", "key", "id", "time"],
)
def test_a_start_that_cannot_be_meant_is_a_422(open_node: OpenNode, how: dict[str, Any], said: str) -> None:
    """Raised by the engine in a route of the application's own; the answer says what is wrong."""
    served = open_node()
    served.app.add_url_rule(
        "/started", view_func=lambda: served.node.engine.start("create-event", **how).saga_id, methods=["POST"]
    )
    response = served.client.post("/started", json={})
    assert_problem(response, 422)
    assert said in response.get_json()["detail"]


# ── What goes wrong in here ──────────────────────────────────────────────────────────────────────────────


def broken_app() -> App:
    """The demo with one route more, which has a bug."""
    blueprint = Blueprint("broken", __name__, url_prefix="/broken")

    def crash() -> Response:
        raise RuntimeError(f"cannot reach {SECRET}")

    blueprint.add_url_rule("/", view_func=crash)

    return App(
        name="broken",
        version="1",
        sagas=services.app.sagas,
        views=services.app.views,
        events=services.app.events,
        blueprints={**services.app.named_blueprints, "broken": [blueprint]},
    )


def test_a_bug_is_a_500_that_tells_nothing_of_our_insides(
    open_node: OpenNode,
) -> None:
    """No stack trace, no exception, no text of ours; those are in the server's log."""
    client = open_node(broken_app()).client
    with captured_logs() as lines:
        response = client.get("/broken/")

    assert_problem(response, 500)
    text = response.get_data(as_text=True)
    for inside in (SECRET, "hunter2", "RuntimeError", "Traceback", "cannot reach", ".py", __name__):
        assert inside not in text
    assert any(line["exc_info"][0] is RuntimeError for line in lines if "exc_info" in line)


def test_after_a_bug_the_next_request_is_answered(open_node: OpenNode) -> None:
    """One broken route breaks nothing else."""
    client = open_node(broken_app()).client
    assert_problem(client.get("/broken/"), 500)
    body_of(client.post(EXECUTE, json={"name": "x"}), 200)


def test_a_server_that_is_stopping_says_so(open_node: OpenNode) -> None:
    """A 503 that sends nobody to look after the database; the next server takes the same call."""
    first = open_node()
    first.node.engine.close(0.0)
    refused = first.client.post(EXECUTE, json={"name": "x"}, headers={"Idempotency-Key": "k"})
    assert_problem(refused, 503)
    assert refused.get_json()["detail"] == "this server is stopping; nothing is lost, try again"
    assert int(refused.headers["Retry-After"]) > 0
    body_of(open_node().client.post(EXECUTE, json={"name": "x"}, headers={"Idempotency-Key": "k"}), 200)


# ── When the database is away ────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["postgresql", "mariadb"])
def far_away(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, str]]:
    """A database server behind a stretch of network that can be cut."""
    with fresh_database(request.param, tmp_path_factory.mktemp("away")) as text:
        url = sa.make_url(text)
        with Relay(url.host or "127.0.0.1", url.port or {"postgresql": 5432}.get(request.param, 3306)) as relay:
            yield relay, url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)


@pytest.fixture
def remote(far_away: tuple[Relay, str]) -> Iterator[tuple[Relay, Served]]:
    """The application on that database, impatient, so that a test need not be."""
    relay, url = far_away
    with ExitStack() as stack:
        yield relay, opened(stack, url, services.app, execute_timeout_s=1.0)
        relay.mend()


def test_a_database_that_is_away_is_a_503_with_retry_after(remote: tuple[Relay, Served]) -> None:
    """Reading or writing: come back in so many seconds, and not a word about the database's address."""
    relay, served = remote
    body_of(served.client.get("/api/saga/list"), 200)
    relay.cut()

    for path in ("/api/saga/list", "/api/saga/health", "/api/saga/status/x", "/api/event/list", "/api/venue/health"):
        response = served.client.get(path)
        assert_problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0
        assert str(relay.port) not in response.get_data(as_text=True)


def test_an_execute_call_while_the_database_is_away_is_a_503_and_can_be_repeated(
    remote: tuple[Relay, Served],
) -> None:
    """Asked again under the same key when it is back, the saga runs, once."""
    relay, served = remote
    relay.cut()
    response = served.client.post(EXECUTE, json={"name": "x"}, headers={"Idempotency-Key": "k"})
    assert_problem(response, 503)
    assert int(response.headers["Retry-After"]) > 0

    relay.mend()
    repeated = served.client.post(EXECUTE, json={"name": "x"}, headers={"Idempotency-Key": "k"})
    assert repeated.status_code in {200, 202}, repeated.get_data(as_text=True)
    saga_id = repeated.get_json()["transaction_id"]
    served.node.engine.follow(saga_id).result(timeout=20)
    body_of(served.client.get(f"/api/saga/status/{saga_id}"), 200)
    listed = body_of(served.client.get("/api/saga/list"), 200)["transactions"]
    assert [(saga["transaction_id"], saga["status"]) for saga in listed] == [(saga_id, "COMPLETED")]
    assert len(body_of(served.client.get("/api/event/list"), 200)["events"]) == 1


def test_when_the_database_is_back_reading_goes_on(remote: tuple[Relay, Served]) -> None:
    """No restart is needed."""
    relay, served = remote
    relay.cut()
    assert_problem(served.client.get("/api/saga/list"), 503)
    relay.mend()
    body_of(served.client.get("/api/saga/list"), 200)


def test_a_problem_is_no_larger_than_what_was_asked(kept_client: FlaskClient) -> None:
    """Of many fields that are wrong some are told and the others counted; a long id or field is not repeated."""
    many = "{" + ",".join(f'"field_{number}":1' for number in range(5000)) + "}"
    answer = kept_client.post("/api/saga/execute", data=many, content_type="application/json")
    found = body_of(answer, 422)
    assert "more: see errors" in found["detail"]
    assert len(found["errors"]) == 20
    long = "x" * 50_000
    for told in (
        kept_client.get(f"/api/saga/status/{long}"),
        kept_client.post("/api/saga/execute", json={long: 1}),
        kept_client.get("/api/saga/list", query_string={"name": long}),
    ):
        assert len(told.data) < 3000
