"""Participants behind NATS JetStream: the same sagas and outcomes; nothing lost, doubled or stranded by a kill."""

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
from tests.support.queues import Counted, new_subject

TIMEOUT_S = 60.0


@pytest.fixture
def url() -> str:
    """The URL of a subject that nobody has used yet."""
    return new_subject()


@pytest.fixture
def node(tmp_path: Path, url: str) -> Iterator[Node]:
    """A node whose participant `hotel` is behind the subject."""
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


def test_a_saga_calls_a_participant_behind_a_subject_with_the_same_steps(
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


def test_commands_and_replies_survive_a_server_that_is_killed(url: str, node: Node, hotel: CarefulHotel) -> None:
    """Worker and service come back to it, and what was sent is done once."""
    server = brokers.nats_server()
    handles = [start(node, f"s{number}") for number in range(10)]
    with Listener(url, hotel.app):
        assert handles[0].result(TIMEOUT_S).status == "COMPLETED"
        server.kill()
        more = [start(node, f"m{number}") for number in range(10)]
        server.start()
        assert {handle.result(TIMEOUT_S).status for handle in (*handles, *more)} == {"COMPLETED"}
    assert len(hotel.guests) == len(handles) + len(more)


def test_a_participant_behind_a_subject_can_be_checked(url: str, hotel: CarefulHotel) -> None:
    """By the same checks as one over HTTP."""
    with Listener(url, hotel.app, threads=4):
        report = check_participant(url, action=ACTION, compensation=COMPENSATION, body=BODY)
    assert report.conforms, report
    assert hotel.guests == []
