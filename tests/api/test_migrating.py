"""Migrating a saga over HTTP: the preview, the command, and what is refused."""

from __future__ import annotations

from saga_es import App, Saga
from tests.api.conftest import OpenNode
from tests.api.test_execute import body_of
from tests.api.test_problems import assert_problem
from tests.api.test_saga_reading import UNKNOWN
from tests.support.journeys_served import BY_ANN
from tests.support.trips import until


def order(*steps: str) -> Saga:
    """A saga that waits for a signal after its first step."""
    saga = Saga("order")
    for number, name in enumerate(steps):

        def step() -> str:
            return "done"

        step.__name__ = name
        saga.step(compensation=None)(step)
        if number == 0:
            saga.wait_for("go", timeout_s=None)
    return saga


def test_a_saga_is_migrated_over_http(open_node: OpenNode) -> None:
    """The preview changes nothing; the command answers with the saga as it is then; what does not fit is a conflict."""
    old, new, unfit = order("a", "ship"), order("a", "deliver"), order("x", "a")
    new.replaces("deliver", "ship")
    first = open_node(App(name="shop", version="1", sagas=[old]))
    first.node.engine.start(old, {}, saga_id="s-1")
    until(lambda: first.node.engine.status("s-1").steps[1].status == "IN_PROGRESS")
    first.node.close()
    client = open_node(App(name="shop", version="2", sagas=[unfit])).client
    assert body_of(client.get("/api/saga/s-1/migrate"), 200)["refused"]
    refused = client.post("/api/saga/s-1/migrate", json=BY_ANN)
    assert_problem(refused, 409)
    assert "step 'a' has begun, and in the new plan it waits for" in refused.get_json()["detail"]
    client = open_node(App(name="shop", version="3", sagas=[new])).client
    preview = body_of(client.get("/api/saga/s-1/migrate"), 200)
    assert (preview["from_plan"], preview["to_plan"], preview["refused"]) == (old.plan_id, new.plan_id, [])
    assert preview["steps"][-1] == {"step": "deliver", "was": "ship", "fate": "renamed", "status": "PENDING"}
    assert [step["step"] for step in body_of(client.get("/api/saga/status/s-1"), 200)["steps"]] == ["a", "go", "ship"]
    migrated = body_of(client.post("/api/saga/s-1/migrate", json=BY_ANN), 200)
    assert [step["step"] for step in migrated["steps"]] == ["a", "go", "deliver"]


def test_only_a_saga_that_is_there_is_migrated(open_node: OpenNode) -> None:
    """And only with a reason."""
    client = open_node(App(name="shop", version="1", sagas=[order("a", "b")])).client
    assert_problem(client.get(f"/api/saga/{UNKNOWN}/migrate"), 404)
    assert_problem(client.post(f"/api/saga/{UNKNOWN}/migrate", json=BY_ANN), 404)
    assert_problem(client.post(f"/api/saga/{UNKNOWN}/migrate", json={}), 422)
