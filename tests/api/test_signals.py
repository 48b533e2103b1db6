"""Signals over HTTP: what a saga waits for, and another service or a person gives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.api.conftest import OpenNode, Served
from tests.api.test_execute import body_of
from tests.api.test_problems import assert_problem
from tests.api.test_saga_reading import UNKNOWN
from tests.support.journeys_served import BY_ANN, app_of, at_step, begin, begun, is_now, journey, stuck, when


@pytest.fixture
def served(open_node: OpenNode) -> Served:
    """A node that knows journeys."""
    return open_node(app_of(journey()))


def path(saga_id: str, signal: str = "approval") -> str:
    return f"/api/saga/{saga_id}/signals/{signal}"


def signals_of(served: Served, saga_id: str) -> list[dict[str, Any]]:
    """What the log holds of signals."""
    events = body_of(served.client.get(f"/api/saga/{saga_id}/events"), 200)["events"]
    return [event["data"] for event in events if event["type"] == "SignalReceived"]


@pytest.mark.parametrize("payload", [None, False, 0, 1.5, "yes", "", [1, [None]], {"by": {"name": "Ann ✓"}}, "a\0b"])
def test_what_a_signal_carries_is_the_result_of_its_step(served: Served, payload: Any) -> None:
    """Any JSON there is; the answer says where the saga was when the signal was in the log."""
    saga_id = begun(served)
    text = msgspec.json.encode(payload)
    body = body_of(served.client.post(path(saga_id), data=text, content_type="application/json"), 202)
    assert body.keys() == {"transaction_id", "signal", "status", "version"}
    assert (body["transaction_id"], body["signal"]) == (saga_id, "approval")
    assert body["version"] >= 5
    ended = when(served.client, saga_id, is_now("COMPLETED"))
    assert [step["result"] for step in ended["steps"]] == ["14C", payload, payload]


def test_a_signal_may_carry_nothing(served: Served) -> None:
    """An empty body is null. It has to say that it is JSON: a form of another site has no body either."""
    saga_id = begun(served)
    for headers in ({}, {"Content-Type": "text/plain"}):
        body_of(served.client.post(path(saga_id), headers=headers), 415)
    body_of(served.client.post(path(saga_id), content_type="application/json"), 202)
    assert when(served.client, saga_id, is_now("COMPLETED"))["steps"][1]["result"] is None


def test_a_signal_that_comes_early_is_kept(served: Served) -> None:
    """The seat is not taken yet; when it is, nobody has to be asked."""
    saga_id = begin(served, busy=True)
    when(served.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    body_of(served.client.post(path(saga_id), json="yes"), 202)
    body_of(served.client.post(f"/api/saga/{saga_id}/orders/retry", json=BY_ANN), 200)
    assert when(served.client, saga_id, is_now("COMPLETED"))["steps"][2]["result"] == "yes"


def test_the_same_key_twice_is_one_signal(served: Served) -> None:
    """Also when the saga has gone on since; another key is another signal, and comes too late.

    The same key with another payload is a mistake of the sender's, and is told as for starts.
    """
    saga_id, key = begin(served, busy=True), {"Idempotency-Key": "k-1"}
    for _ in range(2):
        body_of(served.client.post(path(saga_id), json="yes", headers=key), 202)
    other = served.client.post(path(saga_id), json="no", headers=key)
    assert_problem(other, 422)
    assert "another payload" in body_of(other, 422)["errors"]["Idempotency-Key"][0]
    assert signals_of(served, saga_id) == [{"signal": "approval", "payload": "yes", "key": "k-1"}]
    when(served.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    body_of(served.client.post(f"/api/saga/{saga_id}/orders/retry", json=BY_ANN), 200)
    when(served.client, saga_id, is_now("COMPLETED"))
    body_of(served.client.post(path(saga_id), json="yes", headers=key), 202)
    assert_problem(served.client.post(path(saga_id), json="yes", headers={"Idempotency-Key": "k-2"}), 409)


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_cannot_be_used_is_a_422(served: Served, key: str) -> None:
    """The answer names the header."""
    response = served.client.post(path(begun(served)), json=1, headers={"Idempotency-Key": key})
    assert list(body_of(response, 422)["errors"]) == ["Idempotency-Key"]


@pytest.mark.parametrize("body", ["{", "nul", '"\\ud800"', "[" * 100_000, "NaN", "\xff"])
def test_a_body_that_is_no_json_is_a_400(served: Served, body: str) -> None:
    """Strictly read, as everywhere."""
    saga_id = begun(served)
    response = served.client.post(
        path(saga_id), data=body.encode("latin-1"), headers={"Content-Type": "application/json"}
    )
    assert_problem(response, 400)
    assert signals_of(served, saga_id) == []


def test_a_body_that_does_not_say_it_is_json_is_a_415(served: Served) -> None:
    """Even if it is."""
    assert_problem(served.client.post(path(begun(served)), data="1"), 415)


def test_a_signal_that_the_saga_has_not_is_a_409_that_names_those_there_are(served: Served) -> None:
    """Neither a step that waits for nobody, nor one there is not."""
    saga_id = begun(served)
    for signal in ("letter", "rain", "%00", "approval[0]", "%F0%9F%8E%BB"):
        response = served.client.post(path(saga_id, signal), json=1)
        assert_problem(response, 409)
        assert "there is approval" in response.get_json()["detail"]


def test_a_signal_for_a_saga_that_has_ended_is_a_409(served: Served) -> None:
    """Nobody would ever see it."""
    response = served.client.post(path(stuck(served)), json=1)
    assert_problem(response, 409)
    assert "it has ended: FAILED" in response.get_json()["detail"]


@pytest.mark.parametrize("id_", [UNKNOWN, "x" * 65, "%00"])
def test_a_signal_for_a_saga_that_there_is_not_is_a_404(served: Served, id_: str) -> None:
    """Whatever the id looks like."""
    assert_problem(served.client.post(path(id_), json=1), 404)


def test_a_signal_reaches_the_worker_that_runs_the_saga(served: Served, open_node: OpenNode) -> None:
    """It may be given to any process on the same database, also to one that does not know the saga."""
    saga_id, stranger = begun(served), open_node(app_of())
    body_of(stranger.client.post(path(saga_id), json="yes"), 202)
    assert at_step("letter", "COMPLETED")(when(stranger.client, saga_id, is_now("COMPLETED")))
