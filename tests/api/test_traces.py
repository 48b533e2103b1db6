"""A trace goes on through a saga, without any tracing library: from the request that starts it to all that it calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from saga_es import App, Participant, RetryPolicy, Saga
from saga_es.client import Client
from saga_es.core import events as e
from saga_es.core.trace import Trace
from saga_es.flask import SagaES
from saga_es.publish.messages import Message
from tests.api.conftest import OpenNode
from tests.support.logged import captured_logs
from tests.support.participants import Participant as Server
from tests.support.participants import Says, by_method, in_turn
from tests.support.trips import until

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = Trace(PARENT, "congo=t61rcWkgMzE")
HEADERS = TRACE.headers
TIMEOUT_S = 20.0
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the trace is text in an event
CREATED = {"name": "Concert", "description": "d", "date": "2030-01-01"}


def booking() -> Saga:
    """A room is booked by a child; the payment after it is refused."""
    hotel, bank = Participant("hotel"), Participant("bank")
    room, trip = Saga("room"), Saga("trip")
    soon = RetryPolicy(attempts=2, first_delay_s=0.001, jitter=0)
    room.request("book", hotel.post("/rooms"), compensation=hotel.delete("/rooms"), retry=soon)
    trip.child("stay", room)
    trip.request("pay", bank.post("/payments"), compensation=None)
    return trip


@SQLITE
def test_every_call_of_a_saga_carries_the_trace_of_the_request_that_started_it(open_node: OpenNode) -> None:
    """The retry, the call of a child, the one that is refused, and the compensation."""
    with (
        Server(by_method(POST=in_turn(Says(503), Says(201)), DELETE=lambda _: Says())) as hotel,
        Server(lambda _: Says(409)) as bank,
    ):
        served = open_node(App(sagas=[booking()]), participants={"hotel": hotel.url, "bank": bank.url})
        with captured_logs() as lines:
            ended = served.node.engine.start("trip", saga_id="s-1", trace=HEADERS).result(TIMEOUT_S)
    assert not ended.completed
    calls = [*hotel.calls, *bank.calls]
    assert [call.method for call in calls] == ["POST", "POST", "DELETE", "POST"]
    assert {(call.headers["traceparent"], call.headers["tracestate"]) for call in calls} == {(PARENT, TRACE.tracestate)}
    assert {line.get("trace_id") for line in lines if "saga_id" in line} == {TRACE.trace_id}
    assert {(line["saga"], line["worker"]) for line in lines if "saga_id" in line} == {
        ("trip", served.node.engine.worker_id),
        ("room", served.node.engine.worker_id),
    }


@SQLITE
@pytest.mark.parametrize(("headers", "kept"), [(HEADERS, TRACE), ({"traceparent": "00-1-2-3"}, None), ({}, None)])
def test_a_request_to_the_api_gives_its_trace_to_the_saga(
    open_node: OpenNode, headers: dict[str, str], kept: Trace | None
) -> None:
    """The log keeps it; a header that is not valid is ignored; without one, nothing is kept or sent."""
    served = open_node()
    seen: list[str | None] = []
    served.app.before_request(lambda: seen.append(_traceparent()))
    answer = served.client.post("/api/saga/execute", json=CREATED, headers=headers)
    assert answer.status_code == 200, answer.text
    started, *_ = served.node.store.log.read(answer.get_json()["transaction_id"])
    assert isinstance(started.event, e.SagaStarted)
    assert started.event.trace == kept
    assert len(seen) == 5
    assert set(seen[1:]) == {kept and kept.traceparent}


def _traceparent() -> str | None:
    from flask import request  # noqa: PLC0415 (it is of the present request)

    return request.headers.get("traceparent")


@SQLITE
def test_a_saga_that_a_step_or_a_view_of_flask_starts_belongs_to_their_trace(open_node: OpenNode) -> None:
    """Without a word of the caller's; a client keeps what it is given, for any worker."""
    inner, outer = Saga("inner"), Saga("outer")
    inner.step(name="act", compensation=None)(lambda: None)

    @outer.step(compensation=None)
    def begin() -> None:
        served.node.engine.start(inner, saga_id="by-step")

    served = open_node(App(sagas=[inner, outer]))
    served.node.engine.start(outer, trace=HEADERS).result(TIMEOUT_S)
    served.node.engine.follow("by-step").result(TIMEOUT_S)
    Client(served.node.store, [inner]).start(inner, saga_id="by-client", trace=HEADERS).result(TIMEOUT_S)
    assert {_trace(served.node, name) for name in ("by-step", "by-client")} == {TRACE}


def test_a_view_of_flask_gives_its_trace_to_the_sagas_that_it_starts(tmp_path: Any) -> None:
    """Also where the saga API is not served."""
    order, app = Saga("order"), Flask("shop")
    order.step(name="pay", compensation=None)(lambda: None)
    sagas = SagaES(app, sagas=[order], url_prefix=None, database_url=f"sqlite:///{tmp_path / 'shop.db'}")
    app.post("/orders")(lambda: sagas.engine.start(order, saga_id="s-1").saga_id)
    try:
        assert app.test_client().post("/orders", headers=HEADERS).text == "s-1"
        assert _trace(sagas.engine, "s-1") == TRACE
    finally:
        app.extensions["saga_es"].node.close()


def _trace(of: Any, saga_id: str) -> Trace | None:
    engine = getattr(of, "engine", of)
    trace: Trace | None = engine.read(saga_id)[0].event.trace
    return trace


@SQLITE
def test_what_is_told_of_a_saga_carries_its_trace(open_node: OpenNode) -> None:
    """As the extension of CloudEvents says, and as headers of the webhook; of a saga without one, nothing."""
    saga = Saga("order")
    saga.step(name="pay", compensation=None)(lambda: None)
    with Server(lambda _: Says(204)) as server:
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        served = open_node(App(sagas=[saga]), webhook=server.url, webhook_secret=secret)
        until(lambda: served.node.publishers[0]._position is not None)
        served.node.engine.start(saga, saga_id="s-1", trace=HEADERS).result(TIMEOUT_S)
        served.node.engine.start(saga, saga_id="s-2").result(TIMEOUT_S)
        server.wait_for_calls(2)
        entry = served.node.store.log.entries_of(["s-1"])["s-1"][0]
    with_trace, without = server.calls
    assert json.loads(with_trace.body)["traceparent"] == with_trace.headers["traceparent"] == PARENT
    assert json.loads(with_trace.body)["tracestate"] == TRACE.tracestate
    assert "traceparent" not in json.loads(without.body)
    assert "traceparent" not in without.headers
    assert json.loads(Message(entry).json())["data"]["trace"] == HEADERS
