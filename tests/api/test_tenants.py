"""Whose saga it is: who started it, who acted on it, and who is told that it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from werkzeug.test import TestResponse

from saga_es import App, Saga
from saga_es.access import Principal
from saga_es.api import Blueprint, Permission, execute, saga_blueprint
from saga_es.console import mount_console
from saga_es.core import events as e
from saga_es.core.access import Starter
from saga_es.runtime.ids import saga_id_for
from tests.api.conftest import Served, opened
from tests.api.test_access import app_with_auth
from tests.api.test_execute import body_of
from tests.support.bearers import as_
from tests.support.databases import KINDS, fresh_database

PEOPLE = {
    "shop": Principal("shop", ["service"]),
    "desk": Principal("desk", ["service"]),
    "narrow": Principal("narrow", ["service"], ["other"]),
    "ann": Principal("ann", ["operator"]),
    "one-shop": Principal("shop", ["service"], tenant="one"),
    "one-ann": Principal("ann", ["operator", "resolver"], tenant="one"),
    "two-shop": Principal("shop", ["service"], tenant="two"),
    "two-ann": Principal("ann", ["operator", "resolver", "viewer", "admin", "auditor"], tenant="two"),
}
SECRET = "hunter2"


def waiting() -> Saga:
    """A saga that waits for a signal."""
    saga = Saga("waiting")
    saga.wait_for("approval", timeout_s=None)
    return saga


def app(*sagas: Saga) -> App:
    """An application that starts sagas by name."""
    starting = Blueprint("starting", __name__, url_prefix="/start", permission=Permission.START)
    by_name = {saga.name: saga for saga in sagas}
    starting.post("/<name>")(lambda name: execute(by_name[name], {"secret": SECRET}))
    return app_with_auth(App(sagas=sagas, blueprints=[starting], everywhere=[saga_blueprint]), **PEOPLE)


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that two tenants share, with its console."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(request.param, tmp_path_factory.mktemp("tenants")))
        inner, outer = waiting(), Saga("outer")
        outer.child("inner", inner)
        served = opened(stack, url, app(inner, outer))
        mount_console(served.app)
        yield served


def start(served: Served, who: str, key: str | None = None, name: str = "waiting") -> TestResponse:
    headers = as_(who) | {"Prefer": "respond-async"} | ({"Idempotency-Key": key} if key else {})
    return served.client.post(f"/start/{name}", json={}, headers=headers)


def started(served: Served, who: str, key: str | None = None) -> str:
    found: str = body_of(start(served, who, key), 202)["transaction_id"]
    return found


READS = (
    "/api/saga/status/{}",
    "/api/saga/{}/events",
    "/api/saga/{}/explain",
    "/api/saga/{}/cancel",
    "/console/sagas/{}",
)
WRITES: dict[str, dict[str, Any]] = {
    "cancel": {},
    "pause": {},
    "skip": {"step": "approval"},
    "resolve": {},
    "migrate": {},
    "fail": {},
}


def test_nobody_of_one_tenant_learns_of_a_saga_of_another(shared: Served) -> None:
    """Unknown and forbidden ids answer alike, whatever is asked; and nothing changes."""
    theirs = started(shared, "one-shop")
    unknown = "0191f0a4-0000-7000-8000-000000000000"
    for who in ("two-ann", "ann", "two-shop", "shop"):
        for path in READS:
            found = [shared.client.get(path.format(id_), headers=as_(who)) for id_ in (theirs, unknown)]
            assert [answer.status_code for answer in found] == [404, 404], (who, path)
            told = [answer.text.replace(id_, "ID") for answer, id_ in zip(found, (theirs, unknown), strict=True)]
            assert "csrf" in told[0] or told[0] == told[1], (who, path)
    for name, body in WRITES.items():
        answers = [
            shared.client.post(f"/api/saga/{id_}/{name}", json={"reason": "x", **body}, headers=as_("two-ann"))
            for id_ in (theirs, unknown)
        ]
        assert [answer.status_code for answer in answers] == [404, 404], name
    for id_ in (theirs, unknown):
        sent = shared.client.post(f"/api/saga/{id_}/signals/approval", json=1, headers=as_("two-shop"))
        assert sent.status_code == 404
    assert len(shared.node.store.log.read(theirs)) <= 3
    assert body_of(shared.client.get(f"/api/saga/status/{theirs}", headers=as_("one-ann")), 200)["status"] != "FAILED"


def test_lists_and_pages_have_the_sagas_of_their_reader(shared: Served) -> None:
    """Of the tenant; for a service, those that it started; counts too."""
    ids = {who: started(shared, who) for who in ("shop", "desk", "one-shop", "two-shop")}
    sees = {
        "ann": {"shop", "desk"},
        "one-ann": {"one-shop"},
        "two-ann": {"two-shop"},
        "shop": {"shop"},
        "desk": {"desk"},
        "one-shop": {"one-shop"},
        "narrow": set(),
    }
    for who, expected in sees.items():
        for query in ("limit=500", "limit=500&name=waiting", "limit=500&status=IN_PROGRESS&name=waiting"):
            listed = body_of(shared.client.get(f"/api/saga/list?{query}", headers=as_(who)), 200)["transactions"]
            found = {row["transaction_id"] for row in listed}
            if query == "limit=500":
                assert found & set(ids.values()) == {ids[other] for other in expected}, who
            assert found & {ids[other] for other in ids.keys() - expected} == set(), who
        page = shared.client.get("/console/sagas", headers=as_(who)).text
        assert {other for other, id_ in ids.items() if id_ in page} == expected, who
        active = body_of(shared.client.get("/api/saga/health", headers=as_(who)), 200)["active_transactions"]
        everything = body_of(shared.client.get("/api/saga/list?limit=500", headers=as_(who)), 200)["transactions"]
        assert active == sum(row["status"] in {"PENDING", "IN_PROGRESS"} for row in everything), who
    for who in ("one-ann", "two-ann"):
        for path in ("/metrics", "/console/log", "/console/system"):
            assert shared.client.get(path, headers=as_(who)).status_code == 403
    log = shared.client.get("/console/log", headers=as_("ann")).text
    assert ids["shop"] in log
    assert ids["one-shop"] not in log


def test_a_service_sees_what_it_started_and_nothing_else(shared: Served) -> None:
    """An operator of its tenant sees both; a service starts only sagas that it is for."""
    mine, others = started(shared, "shop"), started(shared, "desk")
    client = shared.client
    assert client.get(f"/api/saga/status/{mine}", headers=as_("shop")).status_code == 200
    assert client.get(f"/api/saga/status/{others}", headers=as_("shop")).status_code == 404
    assert client.post(f"/api/saga/{others}/signals/approval", json=1, headers=as_("shop")).status_code == 404
    assert client.get(f"/api/saga/status/{others}", headers=as_("ann")).status_code == 200
    assert start(shared, "narrow").status_code == 403


def test_a_key_is_of_its_tenant(shared: Served) -> None:
    """The same key of two tenants is two sagas; another principal of a tenant is told that it is used."""
    first = started(shared, "one-shop", "order-1")
    assert started(shared, "one-shop", "order-1") == first
    assert started(shared, "two-shop", "order-1") != first
    nameless = started(shared, "shop", "order-1")
    assert nameless == saga_id_for("waiting", "order-1") != first
    assert start(shared, "desk", "order-1").status_code == 422
    assert body_of(shared.client.get(f"/api/saga/status/{first}", headers=as_("one-shop")), 200)["version"] >= 1


def test_a_key_from_before_credentials_is_answered_as_ever(shared: Served) -> None:
    """Nobody had to be known when it was started: whoever has the key and the input gets the answer."""
    before = shared.node.engine.start("waiting", {"secret": SECRET}, key="old-1").saga_id
    assert started(shared, "shop", "old-1") == before


def test_no_key_of_the_nameless_tenant_comes_to_the_id_of_a_tenants() -> None:
    """However it is written; ids from before there were tenants stay."""
    assert saga_id_for("create-event", "K") == "7c898b32-85bc-5111-ab0f-fe68d398a591"
    theirs = saga_id_for("order", "k", "one")
    for saga, key in (("one", "5/order/k"), ("tenant", "3/one/5/order/k"), ("order", "3/one/5/order/k"), ("", "k")):
        assert saga_id_for(saga, key) != theirs
    assert saga_id_for("order", "k", "one") != saga_id_for("order", "k", "two")
    assert saga_id_for("b/1/c", "k", "a") != saga_id_for("c", "k", "a/5/b")


def test_a_child_is_its_familys(shared: Served) -> None:
    """Who started the parent sees the child; nobody else does."""
    parent = body_of(start(shared, "one-shop", name="outer"), 202)["transaction_id"]
    for event in _until(shared, parent, e.ChildStarted):
        child = event.saga_id
    state = None
    while state is None:
        state = shared.node.store.sagas.find(child)
    assert state.by == Starter("shop", "one")
    assert shared.client.get(f"/api/saga/status/{child}", headers=as_("one-shop")).status_code == 200
    assert shared.client.get(f"/api/saga/status/{child}", headers=as_("two-ann")).status_code == 404


def _until(served: Served, saga_id: str, kind: type[Any]) -> list[Any]:
    while not (found := [r.event for r in served.node.store.log.read(saga_id) if isinstance(r.event, kind)]):
        pass
    return found


def test_a_batch_is_of_its_tenant(shared: Served) -> None:
    """It hits the sagas of its giver's tenant; nobody else learns of it; the actor is the principal."""
    ours, theirs = started(shared, "one-shop"), started(shared, "two-shop")
    body = {"command": "pause", "filter": {"name": "waiting"}, "reason": SECRET, "actor": "Bob"}
    given = body_of(shared.client.post("/api/saga/batch", json=body, headers=as_("one-ann")), 202)
    batch = shared.node.store.log.read(given["batch_id"])[0].event
    assert ours in batch.saga_ids
    assert theirs not in batch.saga_ids
    assert (batch.actor, batch.on_behalf_of) == ("ann", "Bob")
    for who, sees in (("one-ann", True), ("two-ann", False), ("ann", False), ("one-shop", False)):
        path = f"/api/saga/batch/{given['batch_id']}"
        assert (shared.client.get(path, headers=as_(who)).status_code == 200) == sees, who
        listed = shared.client.get("/api/saga/batch", headers=as_(who)).text
        assert (given["batch_id"] in listed) == sees, who
    stop = {"reason": "x"}
    stopped = shared.client.post(f"/api/saga/batch/{given['batch_id']}/stop", json=stop, headers=as_("two-ann"))
    assert stopped.status_code == 404
    paused = last(shared, ours, e.SagaPaused)
    assert (paused.actor, paused.on_behalf_of) == ("ann", "Bob")


# ── Who acted ────────────────────────────────────────────────────────────────────────────────────────────


def last(served: Served, saga_id: str, kind: type[Any]) -> Any:
    return _until(served, saga_id, kind)[-1]


def test_the_actor_is_the_principal(shared: Served) -> None:
    """What the body says is on whose behalf; without it, nobody's."""
    saga_id, client = started(shared, "shop"), shared.client
    given = {"reason": "why", "actor": "Bob"}
    assert client.post(f"/api/saga/{saga_id}/pause", json=given, headers=as_("ann")).status_code == 200
    paused = last(shared, saga_id, e.SagaPaused)
    assert (paused.actor, paused.on_behalf_of, paused.reason) == ("ann", "Bob", "why")
    assert client.post(f"/api/saga/{saga_id}/resume", json={"reason": "y"}, headers=as_("ann")).status_code == 200
    resumed = last(shared, saga_id, e.SagaResumed)
    assert (resumed.actor, resumed.on_behalf_of) == ("ann", None)
    forged = {"reason": "y", "on_behalf_of": "Eve"}
    assert client.post(f"/api/saga/{saga_id}/pause", json=forged, headers=as_("ann")).status_code == 422
    page = client.get(f"/console/sagas/{saga_id}", headers=as_("ann")).text
    assert "paused by ann on behalf of Bob" in page


def test_a_signal_has_an_actor(shared: Served) -> None:
    """Who sent it, if they had to be known."""
    saga_id = started(shared, "shop")
    assert shared.client.post(f"/api/saga/{saga_id}/signals/approval", json=1, headers=as_("shop")).status_code == 202
    assert last(shared, saga_id, e.SignalReceived).actor == "shop"


def test_a_form_of_the_console_is_given_by_its_viewer(shared: Served) -> None:
    """The field of the form says on whose behalf."""
    saga_id, client = started(shared, "shop"), shared.app.test_client()
    path = f"/console/sagas/{saga_id}/pause"
    page = client.get(path, headers=as_("ann")).text
    token = page.partition('name="csrf" value="')[2].partition('"')[0]
    form = {"csrf": token, "reason": "why", "actor": "Bob"}
    assert client.post(path, data=form, headers=as_("ann")).status_code == 303
    paused = last(shared, saga_id, e.SagaPaused)
    assert (paused.actor, paused.on_behalf_of) == ("ann", "Bob")
