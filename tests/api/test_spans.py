"""Spans of OpenTelemetry: a saga is one trace, from the request that starts it to its last compensation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv.attributes import code_attributes, error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.attributes.url_attributes import URL_FULL
from opentelemetry.trace import SpanKind, StatusCode

from saga_es import App, Participant, RetryPolicy, Saga, StepUnavailable
from saga_es.client import Client
from saga_es.core.trace import Trace
from saga_es.errors import NotFound
from saga_es.tracing.spans import trace_of_saga
from tests.api.conftest import OpenNode, Served
from tests.api.test_traces import CREATED, PARENT, booking
from tests.support.logged import captured_logs
from tests.support.participants import Participant as Server
from tests.support.participants import Says, by_method, in_turn
from tests.support.spans import Kept, kept_spans, linked, parent_id, span_id, trace_id

TIMEOUT_S = 20.0
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # spans come from above the database
SOON = RetryPolicy(attempts=3, first_delay_s=0.001, jitter=0)


@pytest.fixture
def spans() -> Iterator[Kept]:
    """The spans of the test."""
    with kept_spans() as kept:
        yield kept


def attributes(span: ReadableSpan, *names: str) -> list[Any]:
    return [(span.attributes or {}).get(name) for name in names]


def kept(served: Served, saga_id: str) -> Trace:
    """The trace that the log has for a saga."""
    found = served.node.store.sagas.find(saga_id)
    assert found is not None
    assert found.trace is not None
    return found.trace


def test_a_saga_with_a_retry_a_child_and_compensations_is_one_trace(open_node: OpenNode, spans: Kept) -> None:
    """One span for each attempt, below the span of the start; participants get the span of the attempt that asks."""
    with (
        Server(by_method(POST=in_turn(Says(503), Says(201)), DELETE=lambda _: Says())) as hotel,
        Server(lambda _: Says(409)) as bank,
    ):
        urls = {"hotel": hotel.url, "bank": bank.url}
        served = open_node(App(sagas=[booking()]), traces=True, participants=urls)
        with captured_logs() as lines:
            with otel.get_tracer("shop").start_as_current_span("a request") as request:
                handle = served.node.engine.start("trip", saga_id="s-1")
            handle.result(TIMEOUT_S)
    told = {line.get("trace_id") for line in lines if "saga_id" in line}
    (one,) = {trace_id(span) for span in spans.all}
    assert told == {one}
    start, child = spans.one("trip start"), spans.one("room start")
    assert parent_id(start) == f"{request.get_span_context().span_id:016x}"
    assert parent_id(child) == kept(served, "s-1").span_id == span_id(start)
    books, pay, undo = spans.named("room book"), spans.one("trip pay"), spans.one("room compensate book")
    assert [attributes(span, "saga_es.step.attempt", "saga_es.outcome") for span in books] == [
        [1, "unknown"],
        [2, "completed"],
    ]
    assert {parent_id(span) for span in (*books, undo)} == {span_id(child)}
    assert parent_id(pay) == span_id(start)
    reopened = spans.one("room claim")  # the child had ended, and a worker goes on with it
    assert [linked(span) for span in books] == [[], [span_id(books[0])]]
    assert linked(undo) == [span_id(reopened), span_id(books[1])]
    assert linked(child) == [span_id(spans.one("trip stay"))]
    sent = [call.headers["traceparent"] for call in (*hotel.calls, *bank.calls)]
    assert [header[3:52] for header in sent] == [f"{one}-{span_id(span)}" for span in (*books, undo, pay)]


def test_the_attributes_are_those_of_the_semantic_conventions(open_node: OpenNode, spans: Kept) -> None:
    """A request is a client's span, without its query; a function has its name; an error has its type."""
    saga = Saga("order")
    saga.request("ask", Participant("bank").get("/rates/{input[pair]}?token=s3cret"), compensation=None, retry=SOON)

    @saga.step(compensation=None, retry=RetryPolicy(attempts=1))
    def pay() -> None:
        raise KeyError("rate")

    with Server(in_turn(Says(429), Says(200))) as bank:
        served = open_node(App(sagas=[saga]), traces=True, participants={"bank": bank.url})
        served.node.engine.start("order", {"pair": "a-b"}, saga_id="s-1").result(TIMEOUT_S)
        port = int(bank.url.rpartition(":")[2])
    first, second = spans.named("order ask")
    raised = spans.one("order pay")
    http, error = http_attributes, error_attributes.ERROR_TYPE
    status, resent = http.HTTP_RESPONSE_STATUS_CODE, http.HTTP_REQUEST_RESEND_COUNT
    assert {span.kind for span in (first, second)} == {SpanKind.CLIENT}
    assert attributes(first, http.HTTP_REQUEST_METHOD, status, resent, error) == ["GET", 429, None, "429"]
    assert attributes(second, status, resent, error) == [200, 1, None]
    assert attributes(second, URL_FULL, "url.template") == [f"{bank.url}/rates/a-b", "/rates/{input[pair]}"]
    assert attributes(second, server_attributes.SERVER_ADDRESS, server_attributes.SERVER_PORT) == ["127.0.0.1", port]
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert "s3cret" not in "".join(span.to_json() for span in spans.all)
    (name,) = attributes(raised, code_attributes.CODE_FUNCTION_NAME)
    assert name.endswith("test_the_attributes_are_those_of_the_semantic_conventions.<locals>.pay")
    assert attributes(raised, error, "saga_es.outcome") == ["KeyError", "unknown"]
    assert [event.name for event in raised.events] == ["exception"]
    assert attributes(
        raised, "saga_es.saga.id", "saga_es.saga.name", "saga_es.worker.id", "saga_es.step.direction"
    ) == [
        *("s-1", "order", served.node.engine.worker_id, "action"),
    ]


@pytest.mark.parametrize("kind", ["def", "async def", "awaitable"])
def test_what_a_step_does_belongs_to_the_span_of_its_attempt(open_node: OpenNode, spans: Kept, kind: str) -> None:
    """Spans that its code makes are its children, on threads and on event loops; a saga that it starts, too."""
    saga, inner = Saga("order"), Saga("inner")
    inner.step(name="act", compensation=None)(lambda: None)
    tracer = otel.get_tracer("shop")
    tried: list[int] = []

    def work() -> None:
        with tracer.start_as_current_span("work"):
            served.node.engine.start(inner, saga_id=f"s-{len(tried)}", wait=False)
        tried.append(1)
        if len(tried) == 1:
            raise StepUnavailable("not now")

    async def waits() -> None:
        await asyncio.sleep(0)
        work()

    def awaitable() -> Coroutine[None, None, None]:
        return waits()

    saga.step(name="pay", compensation=None, retry=SOON)(
        {"def": work, "async def": waits, "awaitable": awaitable}[kind]
    )
    served = open_node(App(sagas=[saga, inner]), traces=True)
    served.node.engine.start(saga).result(TIMEOUT_S)
    served.node.engine.follow("s-1").result(TIMEOUT_S)
    pays, works = spans.named("order pay"), spans.named("work")
    assert [parent_id(span) for span in works] == [span_id(span) for span in pays]
    assert [parent_id(span) for span in spans.named("inner start")] == [span_id(span) for span in works]
    assert len({trace_id(span) for span in spans.all}) == 1
    assert not otel.get_current_span().get_span_context().is_valid


def test_a_request_to_the_api_is_the_parent_also_where_nothing_reads_its_header(
    open_node: OpenNode, spans: Kept
) -> None:
    """Whoever has Flask instrumented has the span of the request there, which comes first."""
    served = open_node(traces=True)
    served.client.post("/api/saga/execute", json=CREATED, headers={"traceparent": PARENT})
    with otel.get_tracer("flask").start_as_current_span("POST /api/saga/execute"):
        served.client.post("/api/saga/execute", json=CREATED, headers={"traceparent": PARENT})
    (of_header, of_span) = spans.named("create-event start")
    assert (trace_id(of_header), parent_id(of_header)) == (PARENT[3:35], PARENT[36:52])
    assert parent_id(of_span) == span_id(spans.one("POST /api/saga/execute"))
    assert {trace_id(span) for span in spans.named("create-event venue")} == {trace_id(of_header), trace_id(of_span)}


def test_a_saga_goes_on_in_its_trace_on_another_worker(open_node: OpenNode, spans: Kept) -> None:
    """The takeover has a span, and what follows is linked to it."""
    gate, arrived = threading.Event(), threading.Event()
    saga = Saga("order")

    @saga.step(compensation=None)
    def pay() -> None:
        arrived.set()
        gate.wait(TIMEOUT_S)

    first = open_node(App(sagas=[saga]), traces=True, grace_s=0.0)
    first.node.engine.start(saga, saga_id="s-1")
    assert arrived.wait(TIMEOUT_S)
    first.node.engine.close(0.0)
    gate.set()
    second = open_node(App(sagas=[saga]), traces=True)
    second.node.engine.follow("s-1").result(TIMEOUT_S)
    start, takeover = spans.one("order start"), spans.one("order take over")
    again = next(span for span in spans.named("order pay") if span_id(takeover) in linked(span))
    assert {trace_id(span) for span in spans.all} == {trace_id(start)}
    assert parent_id(takeover) == parent_id(again) == span_id(start)
    assert linked(takeover) == [span_id(start)]
    workers = attributes(takeover, "saga_es.worker.id", "saga_es.worker.previous")
    assert workers == [second.node.engine.worker_id, first.node.engine.worker_id]


def test_a_saga_that_was_started_without_a_trace_has_one_made_of_its_id(open_node: OpenNode, spans: Kept) -> None:
    """All workers make the same one."""
    saga = Saga("order")
    saga.step(name="pay", compensation=None)(lambda: None)
    served = open_node(App(sagas=[saga]), traces=True)
    handle = Client(served.node.store, [saga]).start(saga)
    served.node.engine.follow(handle.saga_id).result(TIMEOUT_S)
    assert {trace_id(span) for span in spans.all} == {handle.saga_id.replace("-", "")}
    assert {span.name for span in spans.all} == {"order claim", "order pay"}
    assert trace_of_saga("order 7", None) == trace_of_saga("order 7", None) != trace_of_saga("order 8", None)


def test_a_command_is_a_span_of_its_giver(open_node: OpenNode, spans: Kept) -> None:
    """Also one that is refused: then its status is an error."""
    saga = Saga("order")
    saga.wait_for("answer", timeout_s=None)
    served = open_node(App(sagas=[saga]), traces=True)
    handle = served.node.engine.start(saga, saga_id="s-1")
    handle.signal("answer", 1)
    handle.result(TIMEOUT_S)
    with pytest.raises(NotFound):
        served.node.client.cancel("s-2", reason="r", actor="a")
    assert attributes(spans.one("saga signal"), "saga_es.command", "saga_es.saga.id") == ["signal", "s-1"]
    assert spans.one("saga cancel").status.status_code is StatusCode.ERROR
