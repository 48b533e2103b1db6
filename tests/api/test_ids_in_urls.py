"""Every id that can be started can be read and commanded over HTTP, as itself; any other is refused at the start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from saga_es.core import events as e
from saga_es.definition.saga import Saga
from saga_es.errors import BadStreamId
from saga_es.node.app import App
from saga_es.store.log.entries import Draft
from tests.api.conftest import OpenNode, Served
from tests.support.trips import until

GOOD = [
    *["lead", "Lead", "LEAD", "a.b", "a.", "...", ".a", "a..b", "-", "_", "~", "a" * 64, "ä" * 64, "\U0001f680" * 64],
    *[
        "a b",
        " a",
        "a ",
        "  ",
        "a?b",
        "a#b",
        "a&b=c",
        "a;b",
        "a:b",
        "a@b",
        "a+b",
        "a,b",
        "100%",
        "%2F",
        "%2e%2e",
        "a%00",
    ],
    *["é", "e\u0301", "ﬁ", "fi", "ß", "ss", "I", "ı", "Привет", "\u200b", "\u202ea", "{x}", "<b>", "'", '"', "`", "|"],
    *["events", "cancel", "explain", "list", "health", "execute", "orders", "signals", "Status"],
]

BAD = [
    *["/", "/lead", "lead/", "a/b", "//", "\\", "a\\b", ".", "..", "./a", "../a", "/lead/cancel", "x/orders"],
    *["a\nb", "a\rb", "\t", "\x01", "\x7f", "\x85", "\u2028", "\u2029", "\ufffd", "", "\0", "\ud800", "a" * 65],
    *["status", "batch"],
]


def waiting() -> Saga:
    """A saga that goes on until it is commanded to stop."""
    saga = Saga("waiting")
    saga.wait_for("word", timeout_s=3600)
    return saga


def _json(answer: TestResponse) -> Any:
    return answer.json


def _served(open_node: OpenNode) -> Served:
    return open_node(App(sagas=[waiting()]))


def _url(saga_id: str, after: str) -> str:
    return f"/api/saga/{quote(saga_id, safe='')}/{after}"


def _status(served: Served, saga_id: str) -> TestResponse:
    return served.client.get(f"/api/saga/status/{quote(saga_id, safe='')}")


def test_every_id_that_can_be_started_is_reached_over_http_as_itself(open_node: OpenNode) -> None:
    """By each route; and no command reaches another saga, though all of these are there."""
    served = _served(open_node)
    for saga_id in GOOD:
        served.node.engine.start("waiting", {"me": saga_id}, saga_id=saga_id)
    for saga_id in GOOD:
        status = _status(served, saga_id)
        assert (status.status_code, _json(status)["transaction_id"]) == (200, saga_id)
        assert _json(status)["input"] == {"me": saga_id}
        events = served.client.get(_url(saga_id, "events"))
        assert _json(events)["events"][0]["data"]["input"] == {"me": saga_id}
        for after in ("explain", "cancel"):
            answer = served.client.get(_url(saga_id, after))
            assert answer.status_code == 200, (saga_id, answer.text)
            assert _json(answer)["transaction_id"] == saga_id
        paused = served.client.post(_url(saga_id, "pause"), json={"reason": f"<{saga_id}>"})
        assert (paused.status_code, _json(paused)["transaction_id"]) == (200, saga_id)
        assert _json(paused)["pause"]["reason"] == f"<{saga_id}>"


def test_an_id_that_no_url_can_carry_is_refused_at_the_start(open_node: OpenNode) -> None:
    """By the engine and by a client, before anything is written."""
    served = _served(open_node)
    for saga_id in BAD:
        for start in (served.node.engine.start, served.node.client.start):
            with pytest.raises(BadStreamId):
                start("waiting", {}, saga_id=saga_id)
    assert _json(served.client.get("/api/saga/list"))["transactions"] == []


ELSEWHERE = ["/lead", "//lead", "lead/", "./lead", "x/../lead", "/", "//", "a/b"]


def test_no_slash_is_merged_and_no_command_reaches_another_saga(open_node: OpenNode) -> None:
    """Not even by a redirect, which clients follow."""
    served = _served(open_node)
    served.node.engine.start("waiting", {}, saga_id="lead")
    until(lambda: _json(_status(served, "lead"))["version"] == 2)  # it waits
    for segment in [*ELSEWHERE, *(quote(saga_id, safe="") for saga_id in ELSEWHERE)]:
        for answer in (
            served.client.get(f"/api/saga/status/{segment}"),
            served.client.get(f"/api/saga/{segment}/events"),
            served.client.get(f"/api/saga/{segment}/explain"),
            served.client.post(f"/api/saga/{segment}/cancel", json={"reason": "r"}),
            served.client.post(f"/api/saga/{segment}/orders/cancel", json={"reason": "r"}),
            served.client.post(f"/api/saga/{segment}/signals/word", json=1),
        ):
            assert answer.status_code in {404, 405}, answer.request.path
    assert _json(_status(served, "lead"))["version"] == 2


def test_a_saga_of_an_older_version_keeps_its_id(open_node: OpenNode) -> None:
    """It is found by a repeated start, and by every command of Python and of the command line."""
    served = _served(open_node)
    (saga,) = served.node.app.sagas
    for saga_id in ("/lead", "a/b", "..", "status"):
        started = e.SagaStarted(saga.name, saga.plan_id, {"n": 1}, None)
        draft = Draft(saga_id, "saga", 0, (started,), datetime.now(UTC), notifies=True)
        served.node.store.writer.write([served.node.store.writer.prepare(draft)])
        handle = served.node.engine.start("waiting", {"n": 1}, saga_id=saga_id)
        assert handle.saga_id == saga_id
        served.node.engine.cancel(saga_id, reason="r", actor="a")
        assert handle.result(20.0).status == "COMPENSATED"
