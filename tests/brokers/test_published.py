"""What the log holds arrives at real brokers, at least once, and that of a saga in its order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saga_es import App
from saga_es.core.access import Starter
from saga_es.errors import DefinitionError
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.publish import Publish, publisher
from saga_es.publish.brokers import kafka
from saga_es.store.log.codec import SAGA
from saga_es.store.publishers import Publishers
from tests.support import brokers, programs
from tests.support.brokers import Place
from tests.support.errands import errand
from tests.support.left_out import left_out
from tests.support.programs import Absent
from tests.support.published import by_stream, in_log, in_order
from tests.support.trips import until

TIMEOUT_S = 40.0


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """A new place on the broker that the test names."""
    return here(request.param)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(publisher, "RETRY_S", 0.05)
    monkeypatch.setattr(publisher, "LONGEST_RETRY_S", 0.2)


class Open:
    """Opens nodes over one log, which the test's end closes."""

    def __init__(self, folder: Path) -> None:
        self._url = f"sqlite:///{folder / 'log.db'}"
        self.nodes: list[Node] = []

    def __call__(self, *publish: Publish | str) -> Node:
        """A node at work."""
        node = Node(Settings.load({"database_url": self._url}), App(sagas=[errand()], publish=publish))
        self.nodes.append(node)
        node.open()
        return node


@pytest.fixture
def open_node(tmp_path: Path) -> Iterator[Open]:
    """Opens nodes over one log."""
    opened = Open(tmp_path)
    yield opened
    for node in opened.nodes:
        node.close()


def has_told_all(node: Node) -> bool:
    """Whether nothing of the log is left to tell."""
    return [row.lag for row in Publishers(node.database).all()] == [0]


@pytest.mark.parametrize("place", brokers.KINDS, indirect=True)
def test_each_event_of_the_log_arrives_as_a_cloud_event(place: Place, open_node: Open) -> None:
    """From the beginning of the log, also what was there before the publisher was; with the trace of its saga."""
    node = open_node()
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    node.engine.start("errand", {"ok": True}, saga_id="s-1", trace=trace).result(TIMEOUT_S)
    node.close()
    node = open_node(place.url)
    node.engine.start("errand", {"ok": False}, saga_id="s-2").result(TIMEOUT_S)
    until(lambda: has_told_all(node))
    messages = place.messages()
    assert in_order(messages) == by_stream(in_log(node.store.log))
    assert len(messages) == len(in_log(node.store.log))
    assert {(message["subject"], message.get("traceparent")) for message in messages if "saga" in message} == {
        ("s-1", trace["traceparent"]),
        ("s-2", None),
    }
    entry = next(entry for entry in node.store.log.walk() if entry.stream_id == "s-2")
    assert next(message for message in messages if message["subject"] == "s-2") == {
        "specversion": "1.0",
        "id": "s-2/1",
        "source": "/saga_es/saga",
        "type": "saga_es.saga.SagaStarted",
        "subject": "s-2",
        "time": entry.recorded_at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": json.loads(entry.text),
        "position": entry.position,
        "saga": "errand",
    }


@pytest.mark.parametrize("kind", brokers.KILLABLE)
def test_nothing_is_lost_when_the_broker_is_killed(kind: str, open_node: Open) -> None:
    """Kill -9 while events are on their way, and start again: all arrive, those of a saga in their order."""
    place, server = here(kind), brokers.server(kind)
    node = open_node(place.url)
    for number in range(20):
        node.engine.start("errand", {"ok": True}, saga_id=f"before-{number}")
    server.kill()
    try:
        handles = [node.engine.start("errand", {"ok": True}, saga_id=f"while-{number}") for number in range(20)]
        assert all(handle.result(TIMEOUT_S).completed for handle in handles), "sagas do not wait for a broker"
        until(lambda: Publishers(node.database).all()[0].held.error, TIMEOUT_S)
    finally:
        server.start()
    until(lambda: has_told_all(node), TIMEOUT_S)
    assert in_order(place.messages()) == by_stream(in_log(node.store.log))


def test_nothing_is_lost_when_kafka_hangs(open_node: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was sent meanwhile may come late, and again; the first times are in the order of the saga."""
    monkeypatch.setattr(kafka, "TIMEOUT_S", 1.0)
    place = here("kafka")
    node = open_node(place.url)
    node.engine.start("errand", {"ok": True}, saga_id="before").result(TIMEOUT_S)
    until(lambda: has_told_all(node), TIMEOUT_S)
    with brokers.kafka().frozen():
        node.engine.start("errand", {"ok": True}, saga_id="while").result(TIMEOUT_S)
        until(lambda: Publishers(node.database).all()[0].held.error, TIMEOUT_S)
    until(lambda: has_told_all(node), TIMEOUT_S)
    assert in_order(place.messages()) == by_stream(in_log(node.store.log))


def test_rabbitmq_routes_by_definition_and_type(open_node: Open) -> None:
    """A queue can be bound to the ends of all sagas, or to all of a definition."""
    place = here("rabbitmq")
    assert isinstance(place, brokers.Queue)
    node = open_node(place.url)
    node.engine.start("errand", {"ok": True}).result(TIMEOUT_S)
    until(lambda: has_told_all(node))
    place.messages()
    assert {"saga.errand.SagaStarted", "saga.errand.SagaCompleted"} <= set(place.keys)


def test_what_is_published_can_be_chosen_and_made_into_other_messages(open_node: Open) -> None:
    """By category, type and definition; a function makes the message, or none of it."""

    def message(event: dict[str, Any]) -> dict[str, Any] | None:
        return None if event["subject"] == "hidden" else {"id": event["id"], "errand": event["subject"]}

    place, other = here("redis"), here("redis")
    node = open_node(
        Publish(place.url, categories=[SAGA], types=["SagaCompleted"], sagas=["errand"], message=message),
        Publish(other.url, sagas=["another"]),
    )
    for saga_id in ("shown", "hidden"):
        node.engine.start("errand", {"ok": True}, saga_id=saga_id).result(TIMEOUT_S)
    until(lambda: {row.lag for row in Publishers(node.database).all()} == {0})
    assert [list(found) for found in place.messages()] == [["id", "errand"]]
    assert place.messages()[0]["errand"] == "shown"
    assert other.messages() == []


def test_a_target_of_a_tenant_is_told_of_its_sagas_alone(open_node: Open) -> None:
    """Nothing of another tenant, of none, or of a key; each message of a tenant's saga names the tenant."""
    places = {tenants: here("redis") for tenants in (("one",), ("two", ""), ())}
    node = open_node(*(Publish(place.url, tenants=tenants) for tenants, place in places.items()))
    node.engine.start("errand", {"ok": True}, saga_id="nobodys").result(TIMEOUT_S)
    for tenant in ("one", "two"):
        by = Starter("shop", tenant)
        node.engine.start("errand", {"ok": True}, saga_id=f"of-{tenant}", by=by).result(TIMEOUT_S)
    until(lambda: {row.lag for row in Publishers(node.database).all()} == {0})
    told = {
        tenants: {(found["subject"], found.get("tenant")) for found in place.messages() if tenants or "saga" in found}
        for tenants, place in places.items()
    }
    nobodys, ones, twos = ("nobodys", None), ("of-one", "one"), ("of-two", "two")
    assert told == {("one",): {ones}, ("two", ""): {twos, nobodys}, (): {ones, twos, nobodys}}


def test_a_broker_that_is_away_is_named_without_its_password(open_node: Open, caplog: pytest.LogCaptureFixture) -> None:
    """In the log, and where `saga-es publishers` and `doctor` read."""
    port = programs.free_port()
    node = open_node(f"amqp://ada:hunter2@127.0.0.1:{port}/shop")
    until(lambda: Publishers(node.database).all()[0].held.error)
    row = Publishers(node.database).all()[0]
    assert row.name.startswith(f"rabbitmq 127.0.0.1:{port}-")
    assert "hunter2" not in caplog.text + repr(row) + repr(node.settings) + repr(node.publishers[0].target)
    assert "Connection refused" in (row.held.error or "")


def test_two_publishers_need_two_names(open_node: Open) -> None:
    """The log remembers by the name how far each is."""
    url = "redis://broker.example?stream=sagas"
    with pytest.raises(DefinitionError, match="2 publishers have this name"):
        open_node(url, Publish(url, types=["SagaFailed"]))


def here(kind: str) -> Place:
    """A new place on a broker of this kind."""
    try:
        return brokers.place(kind)
    except Absent as absent:
        left_out(kind, str(absent))
