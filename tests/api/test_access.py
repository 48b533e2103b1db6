"""Who may do what over HTTP: each route of each kind, with each role and without credentials."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from flask import Flask, Request, Response, request_finished
from flask.testing import FlaskClient
from schemathesis.core.result import Ok
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

import services
from saga_es import App, Saga
from saga_es.access import Principal, Role
from saga_es.api import Blueprint, json_response
from saga_es.api.access import declared_by
from saga_es.console import mount_console
from saga_es.core.access import Scope
from saga_es.core.batches import BatchStarted
from saga_es.errors import StoreUnavailable
from saga_es.flask import EXTENSION, SagaES
from saga_es.store.log.log import Log
from tests.api.conftest import Served, opened
from tests.api.test_execute import EXECUTE, body_of
from tests.api.test_openapi import failures_of
from tests.api.test_problems import assert_problem
from tests.support.bearers import BY_ROLE, Bearers, as_
from tests.support.journeys_served import app_of, journey, stuck
from tests.support.pages import page_of

LOOKERS = {"viewer", "operator", "resolver", "admin", "auditor"}
READERS = LOOKERS | {"service"}
COMMANDS = {
    "operator": ("cancel", "pause", "resume", "retry"),
    "resolver": ("skip", "replace-input", "resolve", "fail", "migrate"),
}
ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(("/", "/livez", "/readyz"), READERS | {"", "sender"}),
    "/static/": set(),
    "/api/saga/execute": {"service"},
    "/api/saga/<string:transaction_id>/signals/": {"service", "sender"},
    **{
        f"/api/saga/<string:transaction_id>/{below}{name} POST": {role}
        for below in ("", "orders/")
        for role, names in COMMANDS.items()
        for name in names
    },
    "/api/saga/erase POST": {"admin"},
    "/api/saga/replies/": set(),
    "/api/saga/system": LOOKERS,
    "/api/saga/": READERS,
    "/api/": {"service"},
    "/demo/": {"operator"},
    "/metrics": LOOKERS,
    "/console/system": LOOKERS,
    "/console/log": LOOKERS,
    "/console/demo POST": {"operator"},
    "/console/sagas/<string:saga_id>/<any": {"operator"},
    "/console/": READERS,
    "/docs/": READERS,
    "/openapi.json": READERS,
}
"""The roles that each route of the demonstration is for, by how route and method begin; the first that fits counts."""

ALL = Principal("all", list(Role))
UNKNOWN = "0191f0a4-0000-7000-8000-000000000000"


def app_with_auth(app: App, **principals: Principal) -> App:
    return msgspec.structs.replace(app, auth=Bearers(**principals))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The demonstration with its console, where a token is the name of a role; the database makes no difference."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('guarded')}/saga.db"
        served = opened(stack, url, app_with_auth(services.app))
        mount_console(served.app)
        yield served


def routes(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """Each route with each of its methods, and a path that it answers."""
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for name in rule.arguments:
            before, _, rest = path.partition("<")
            inside, _, after = rest.partition(">")
            path = f"{before}{'pause' if inside.startswith('any') else UNKNOWN if name.endswith('_id') else 'x'}{after}"
        yield from ((rule, method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))


def allowed(rule: Rule, method: str) -> set[str]:
    if rule.rule == "/":
        return ALLOWED["/"]
    return next(roles for begin, roles in ALLOWED.items() if begin != "/" and f"{rule.rule} {method}".startswith(begin))


def ask(client: FlaskClient, method: str, path: str, token: str = "") -> TestResponse:
    body: dict[str, Any] = {"json": {}} if method == "POST" and not path.startswith("/console") else {}
    return client.open(path, method=method, headers=as_(token) if token else {}, buffered=True, **body)


# ── Every route ──────────────────────────────────────────────────────────────────────────────────────────


def test_without_credentials_all_but_three_routes_answer_401_with_one_body(guarded: Served) -> None:
    """Also a path that is no route, and a method that a route does not have: a stranger learns of nothing."""
    client = guarded.app.test_client()
    asked = [
        (method, path) for rule, method, path in routes(guarded.app) if rule.rule not in {"/", "/livez", "/readyz"}
    ]
    assert len(asked) > 50
    answers = [ask(client, method, path) for method, path in [*asked, ("GET", "/nothing"), ("DELETE", "/metrics")]]
    assert {answer.status_code for answer in answers} == {401}
    assert len({(answer.data, answer.content_type, answer.headers["WWW-Authenticate"]) for answer in answers}) == 1
    assert_problem(answers[0], 401)


@pytest.mark.parametrize("token", ["", *(role.value for role in Role)])
def test_a_role_opens_its_routes_and_no_other(guarded: Served, token: str) -> None:
    """With a role that does not suffice: 403, or 401 when there is none; with one that does, neither."""
    client = guarded.app.test_client()
    for rule, method, path in routes(guarded.app):
        answer = ask(client, method, path, token)
        if token in allowed(rule, method):
            is_form = method == "POST" and path.startswith("/console")  # without its token, it is refused as such
            assert is_form or answer.status_code not in {401, 403}, (method, path, answer.data)
        else:
            assert answer.status_code == (403 if token else 401), (method, path, answer.data)


def test_every_route_declares_what_it_asks_for(guarded: Served) -> None:
    """All but Flask's own route for files, which serves none."""
    silent = [rule.endpoint for rule in guarded.app.url_map.iter_rules() if not declared_by(guarded.app, rule.endpoint)]
    assert silent == ["static"]


def test_a_route_that_declares_nothing_is_for_nobody(tmp_path: Path) -> None:
    """An application that forgets to say so has a closed door, and not an open one."""
    forgotten = Blueprint("forgotten", __name__, url_prefix="/forgotten")

    forgotten.get("/")(lambda: json_response({}))
    with ExitStack() as stack:
        app = app_with_auth(App(blueprints=[forgotten]), all=Principal("all", list(Role)))
        client = opened(stack, f"sqlite:///{tmp_path}/saga.db", app).client
        assert client.get("/forgotten/", headers=as_("all")).status_code == 403
        assert client.get("/forgotten/", headers=as_("nobody")).status_code == 401


def test_without_auth_everything_on_this_machine_is_answered(tmp_path: Path) -> None:
    """As before; a request from elsewhere is answered by no route but the open ones, unless a setting says so."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/saga.db"
        app = opened(stack, url, services.app).app
        for rule, method, path in routes(app):
            if rule.endpoint != "static" and method == "GET":
                assert ask(app.test_client(), method, path).status_code not in {401, 403}, path
                elsewhere = app.test_client().get(path, environ_overrides={"REMOTE_ADDR": "10.1.2.3"})
                assert (elsewhere.status_code == 401) == (rule.rule not in {"/", "/livez", "/readyz"}), path
        insecure = opened(stack, url, services.app, insecure_no_auth=True).client
        assert insecure.get("/api/saga/list", environ_overrides={"REMOTE_ADDR": "10.1.2.3"}).status_code == 200


def test_a_saga_calls_its_participants_in_this_process_as_itself(guarded: Served) -> None:
    """The principal of such a call is an object; no header can be it, and none is sent."""
    answer = guarded.client.post(EXECUTE, json={"name": "Concert"}, headers=as_("service"))
    assert body_of(answer, 200)["success"] is True
    health = body_of(guarded.client.get("/demo/health-check-all", headers=as_("operator")), 200)
    assert health["overall_status"] == "healthy"
    for name in ("Saga-Es-In-Process", "saga_es.in_process", "X-Saga-Es-Principal"):
        assert guarded.client.get("/api/event/list", headers={name: "True"}).status_code == 401


def test_an_authentication_that_fails_lets_nobody_in(tmp_path: Path) -> None:
    """A bug in it is 500; its database away, 503."""

    def broken(request: Request) -> Principal | None:
        raise StoreUnavailable("away") if "away" in request.headers else ZeroDivisionError

    with ExitStack() as stack:
        client = opened(stack, f"sqlite:///{tmp_path}/saga.db", App(auth=broken)).client
        assert client.get("/api/saga/list", headers={"away": "1"}).status_code == 503
        assert client.get("/api/saga/list").status_code == 500
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("token", ["", "viewer", "service"])
def test_generated_requests_of_each_kind_of_caller_are_answered_as_documented(guarded: Served, token: str) -> None:
    """No server error, no answer that the document does not have; without credentials, 401 for all but one route."""
    document = schemathesis.openapi.from_wsgi("/openapi.json", guarded.app, headers=as_("viewer"))
    failures: list[str] = []

    statuses: set[int] = set()

    def note(_app: Flask, response: Response) -> None:
        statuses.add(response.status_code)

    request_finished.connect(note, guarded.app)
    for result in document.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if not token and operation.path != "/":
            case = next(iter([operation.Case()]))
            answer = guarded.client.open(case.path.replace("{", "").replace("}", ""), method=operation.method, json={})
            failures += [] if answer.status_code == 401 else [operation.label]
        else:
            failures += failures_of(operation, examples=2, headers=as_(token) if token else {})
    assert failures == [], "\n\n".join(failures)
    assert {200, 403, 422} <= statuses if token else statuses == {200, 401}, statuses


# ── Payloads ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A saga that failed with the secret `hunter2` in its input, an error and a reason; and its console."""
    saga = Saga("secretive")

    @saga.step(compensation=None)
    def first(input: dict[str, str]) -> dict[str, str]:  # noqa: A002 (the name by which a step asks for it)
        return {"token": input["token"]}

    @saga.step(compensation=None)
    def second(input: dict[str, str]) -> None:  # noqa: A002 (as above)
        raise ValueError(f"refused for {input['token']}")

    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('troubled')}/saga.db"
        served = opened(stack, url, app_with_auth(App(sagas=[saga])))
        mount_console(served.app)
        handle = served.node.engine.start(saga, {"token": "hunter2"})
        handle.result(20)
        yield served, handle.saga_id


PAGES = (
    "/api/saga/status/{}",
    "/api/saga/status/{}?at_version=3",
    "/api/saga/{}/events",
    "/api/saga/{}/explain",
    "/api/saga/list",
    "/api/saga/failures?status=COMPENSATED",
    "/console/sagas",
    "/console/sagas/{}",
    "/console/sagas/{}?at_version=3&compare=5",
    "/console/attention?status=COMPENSATED",
    "/console/log",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_viewer_sees_no_payload_and_no_error(troubled: tuple[Served, str], path: str) -> None:
    """An operator sees them; a viewer sees that they are there."""
    served, saga_id = troubled
    seen = {
        token: served.client.get(path.format(saga_id), headers=as_(token)) for token in ("viewer", "admin", "operator")
    }
    assert {token: answer.status_code for token, answer in seen.items()} == dict.fromkeys(seen, 200)
    assert "hunter2" in seen["operator"].text
    for token in ("viewer", "admin"):
        assert "hunter2" not in seen[token].text


def test_no_method_of_a_redacted_log_shows_a_payload(troubled: tuple[Served, str]) -> None:
    """Each that returns rows or events; a new one has to be named here."""
    served, saga_id = troubled
    log = served.node.seen_by(BY_ROLE["viewer"]).store.log
    with served.node.database.reading() as connection:
        shown: dict[str, Any] = {
            "read": log.read(saga_id),
            "last_of": [log.read(saga_id)[0], log.last_of(saga_id)],
            "read_many": log.read_many([saga_id]),
            "entries_of": [log.entries_of([saga_id]), log.entries_of([saga_id, "other"], connection)],
            "entries": [log.entries(saga_id), log.entries()],
            "walk": list(log.walk()),
            "after": log.after(connection, 0, 100),
            "part": log.part(saga_id, 0, 100, 100_000),
            "decode": [log.decode(entry) for entry in log.entries(saga_id)],
            "opened": [log.opened(entry) for entry in log.entries(saga_id)],
            "decode_all": log.decode_all(log.entries(saga_id)),
        }
    kinds = ("Entry", "Recorded", "Unreadable")
    methods = {
        name
        for name, method in inspect.getmembers(Log, inspect.isfunction)
        if not name.startswith("_") and any(kind in str(inspect.signature(method).return_annotation) for kind in kinds)
    }
    assert methods == shown.keys()
    assert {
        name for name, found in shown.items() if "hunter2" in repr(found) or "SagaStarted" not in repr(found)
    } == set()


@pytest.mark.parametrize("path", ["/api/saga/list?error=x", "/api/saga/failures?error=x", "/console/sagas?error=x"])
def test_a_viewer_does_not_search_errors(troubled: tuple[Served, str], path: str) -> None:
    """Each answer would tell whether a text is in them."""
    served, _ = troubled
    assert served.client.get(path, headers=as_("viewer")).status_code == 403
    assert served.client.get(path, headers=as_("operator")).status_code == 200


def test_a_viewer_sees_no_words_of_a_batch(troubled: tuple[Served, str]) -> None:
    """Its reason and its filter are people's words."""
    served, saga_id = troubled
    started = BatchStarted("retry", (saga_id,), {"error": "hunter2"}, "ann", "hunter2", 10.0, scope=Scope())
    batch_id = served.node.batches.start(started)
    for path in ("/api/saga/batch", f"/api/saga/batch/{batch_id}"):
        seen = {who: served.client.get(path, headers=as_(who)) for who in ("viewer", "operator")}
        assert [answer.status_code for answer in seen.values()] == [200, 200]
        assert batch_id in seen["viewer"].text
        assert ["hunter2" in answer.text for answer in seen.values()] == [False, True]


def test_a_viewer_sees_that_the_hash_chain_is_whole(troubled: tuple[Served, str]) -> None:
    """It is that of the whole events, which the page does not show."""
    served, saga_id = troubled
    page = page_of(served.client.get(f"/console/sagas/{saga_id}", headers=as_("viewer")))
    assert "Hash chain whole" in page.text


def test_a_page_offers_what_its_viewer_may_do(tmp_path: Path) -> None:
    """No button leads to a refusal for want of a role."""
    with ExitStack() as stack:
        served = opened(stack, f"sqlite:///{tmp_path}/saga.db", app_with_auth(app_of(journey()), all=ALL))
        mount_console(served.app)
        served.client.environ_base["HTTP_AUTHORIZATION"] = "Bearer all"
        saga_id = stuck(served)
        offered = {
            token: {
                link["href"].rpartition("/")[2]
                for link in page_of(served.client.get(f"/console/sagas/{saga_id}", headers=as_(token))).all("a")
                if link.get("class", "").startswith("button") and f"/sagas/{saga_id}/" in link["href"]
            }
            for token in ("viewer", "operator", "resolver")
        }
    assert offered["viewer"] == set()
    assert offered["operator"] == {"retry"}
    assert offered["resolver"] == {"skip", "replace-input", "resolve"}


# ── In an application of the user's ──────────────────────────────────────────────────────────────────────


def test_the_extension_asks_for_credentials_on_its_own_routes_alone(tmp_path: Path) -> None:
    """Each route that it adds; the application's own are the application's to guard."""
    shop = Flask("shop")
    shop.config["SAGA_ES_DATABASE_URL"] = f"sqlite:///{tmp_path}/shop.db"
    shop.get("/goods")(lambda: "goods")
    before = {rule.endpoint for rule in shop.url_map.iter_rules()}
    SagaES(shop, app_with_auth(App(sagas=[journey()])), url_prefix="/ops/sagas", console="/ops/console")
    try:
        client = shop.test_client()
        added = [(rule, method, path) for rule, method, path in routes(shop) if rule.endpoint not in before]
        assert len(added) > 25
        for rule, method, path in added:
            if rule.rule not in {"/ops/sagas/livez", "/ops/sagas/readyz"}:
                assert ask(client, method, path).status_code == 401, path
        assert client.get("/goods").text == "goods"
        assert client.get("/ops/sagas/list", headers=as_("viewer")).status_code == 200
        assert client.get("/ops/sagas/openapi.json", headers=as_("viewer")).status_code == 200
        assert client.get("/ops/console/sagas", headers=as_("viewer")).status_code == 200
        assert client.get("/ops/sagas/metrics", headers=as_("service")).status_code == 403
        pausing = client.post(f"/ops/sagas/{UNKNOWN}/pause", json={"reason": "x"}, headers=as_("viewer"))
        assert pausing.status_code == 403
    finally:
        shop.extensions[EXTENSION].node.close()
