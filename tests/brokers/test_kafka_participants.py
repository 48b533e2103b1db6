"""Participants behind a topic of Kafka: the same sagas and outcomes; nothing lost, doubled or stranded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from saga_es import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.participant import check_participant
from saga_es.participant.messaging import Listener
from tests.brokers.test_queue_participants import failures, start, trip
from tests.support import brokers
from tests.support.hotels import ACTION, BODY, COMPENSATION, CarefulHotel
from tests.support.queues import Counted, new_topic

TIMEOUT_S = 60.0


@pytest.fixture
def url() -> str:
    """The URL of a topic that nobody has used yet."""
    return new_topic()


@pytest.fixture
def node(tmp_path: Path, url: str) -> Iterator[Node]:
    """A node whose participant `hotel` is behind the topic."""
    given = {"database_url": f"sqlite:///{tmp_path / 'log.db'}", "participants": {"hotel": url}, "grace_s": 0}
    node = Node(Settings.load(given), App(sagas=[trip()]))
    node.open()
    yield node
    node.close()


@pytest.fixture
def hotel(tmp_path: Path) -> Iterator[CarefulHotel]:
    """A service with the barrier in its own database."""
    hotel = CarefulHotel(f"sqlite:///{tmp_path / 'hotel.db'}")
    yield hotel
    hotel.engine.dispose()


def test_a_saga_calls_a_participant_behind_a_topic_with_the_same_steps(
    url: str, node: Node, hotel: CarefulHotel
) -> None:
    """Its action is done, and undone when the saga aborts."""
    with Listener(url, hotel.app):
        assert start(node, "good").result(TIMEOUT_S).results["book"] == {"room": 1}
        assert start(node, "poor", poor=True).result(TIMEOUT_S).status == "COMPENSATED"
    assert hotel.guests == ["Ada"]


def test_a_refusal_is_a_rejection_and_not_now_is_tried_again(url: str, node: Node) -> None:
    """By the table of HTTP, with one key on all attempts."""
    app = Counted(lambda count, method: (429 if (count, method) == (1, "POST") else 409, {"n": count}))
    with Listener(url, app):
        assert start(node, "one").result(TIMEOUT_S).status == "COMPENSATED"
    assert failures(node, "one") == ["unavailable", "rejected"]
    assert len(set(app.keys("POST"))) == 1


def test_commands_and_replies_survive_a_cluster_that_hangs(url: str, node: Node, hotel: CarefulHotel) -> None:
    """Worker and service go on when it answers again, and what was sent is done once."""
    handles = [start(node, f"s{number}") for number in range(10)]
    with Listener(url, hotel.app):
        assert handles[0].result(TIMEOUT_S).status == "COMPLETED"
        with brokers.kafka().frozen():
            more = [start(node, f"m{number}") for number in range(10)]
        assert {handle.result(TIMEOUT_S).status for handle in (*handles, *more)} == {"COMPLETED"}
    assert len(hotel.guests) == len(handles) + len(more)


def test_what_a_listener_has_done_comes_to_the_next_only_if_it_was_not_committed(url: str, node: Node) -> None:
    """A position is committed when the replies before it are safe; the next listener begins behind it."""
    first, second = (Counted(lambda count, _: (201, {"n": count})) for _ in range(2))
    with Listener(url, first):
        assert start(node, "one").result(TIMEOUT_S).status == "COMPLETED"
    with Listener(url, second):
        assert start(node, "two").result(TIMEOUT_S).status == "COMPLETED"
    assert (len(first.calls), len(second.calls)) == (1, 1)


def test_a_participant_behind_a_topic_can_be_checked(url: str, hotel: CarefulHotel) -> None:
    """By the same checks as one over HTTP."""
    with Listener(url, hotel.app, threads=4):
        report = check_participant(url, action=ACTION, compensation=COMPENSATION, body=BODY)
    assert report.conforms, report
    assert hotel.guests == []
