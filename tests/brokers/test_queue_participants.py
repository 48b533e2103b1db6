"""Participants behind RabbitMQ: the same sagas, the same outcomes, and nothing lost, doubled or stranded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saga_es import App, Participant, RetryPolicy, Saga, StepRejected
from saga_es.core.events import StepFailed
from saga_es.node.credentials import BadCredentials
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.participant import Verdict, check_participant
from saga_es.participant.messaging import Listener
from saga_es.queues.transport import QueueTransport
from saga_es.runtime.calls.answers import NotSent
from tests.e2e.conftest import run_cli
from tests.support import brokers, programs
from tests.support.hotels import ACTION, BODY, COMPENSATION, CarefulHotel, CarelessHotel, Flaw
from tests.support.queues import Counted, Scripted, answers, new_queue, now
from tests.support.trips import until

TIMEOUT_S = 60.0


def trip(timeout_s: float = 30.0, attempts: int = 5) -> Saga:
    """Books a room behind a queue, and then may have to give it back."""
    saga, hotel = Saga("trip"), Participant("hotel")
    saga.request(
        "book",
        hotel.post("/rooms", _room),
        compensation=hotel.delete("/rooms/{action_key}"),
        timeout_s=timeout_s,
        retry=RetryPolicy(attempts=attempts, first_delay_s=0.01, jitter=0.0),
    )

    @saga.step(compensation=None)
    def pay(input: dict[str, Any]) -> None:  # noqa: A002 (the name a step asks for)
        if input.get("poor"):
            raise StepRejected("no money")

    return saga


def _room(input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 (the name a step asks for)
    return {"guest": input["guest"]}


@pytest.fixture
def url() -> str:
    """The URL of a new queue."""
    return new_queue()


Open = Callable[..., Node]


@pytest.fixture
def open_node(tmp_path: Path, url: str) -> Iterator[Open]:
    """Opens nodes over one log, whose participant `hotel` is behind the queue."""
    nodes: list[Node] = []

    def opened(saga: Saga | None = None, **settings: Any) -> Node:
        given = {"database_url": f"sqlite:///{tmp_path / 'log.db'}", "participants": {"hotel": url}, "grace_s": 0}
        node = Node(Settings.load({**given, **settings}), App(sagas=[saga or trip()]))
        nodes.append(node)
        node.open()
        return node

    yield opened
    for node in nodes:
        node.close()


def start(node: Node, saga_id: str, **given: Any) -> Any:
    return node.engine.start("trip", {"guest": "Ada", **given}, saga_id=saga_id)


def failures(node: Node, saga_id: str) -> list[str]:
    """How the attempts of a saga failed."""
    events = [recorded.event for recorded in node.engine.read(saga_id)]
    return [str(event.failure) for event in events if isinstance(event, StepFailed)]


@pytest.fixture
def hotel(tmp_path: Path) -> Iterator[CarefulHotel]:
    """A service with the barrier in its own database."""
    hotel = CarefulHotel(f"sqlite:///{tmp_path / 'hotel.db'}")
    yield hotel
    hotel.engine.dispose()


def test_a_saga_calls_a_participant_behind_a_queue_with_the_same_steps(
    url: str, open_node: Open, hotel: CarefulHotel
) -> None:
    """Its action is done, and undone when the saga aborts; nothing of the service is about queues."""
    node = open_node()
    with Listener(url, hotel.app):
        assert start(node, "good").result(TIMEOUT_S).results["book"] == {"room": 1}
        assert start(node, "poor", poor=True).result(TIMEOUT_S).status == "COMPENSATED"
    assert hotel.guests == ["Ada"]


def test_a_command_says_what_a_call_over_http_says_and_more(url: str, open_node: Open) -> None:
    """Key, saga, step, attempt, deadline, and where the reply goes; each attempt has a message of its own."""
    node = open_node()
    before = now()
    handle = start(node, "one")
    with Scripted(url) as participant:
        first = participant.next()
        participant.reply(first, 429)
        second = participant.next()
        participant.reply(second, 201, {"room": 7})
        assert handle.result(TIMEOUT_S).results["book"] == {"room": 7}
    assert (first.saga_id, first.saga, first.step, first.direction) == ("one", "trip", "book", "action")
    assert (first.method, first.path, first.content) == ("POST", "/rooms", b'{"guest":"Ada"}')
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.key == second.key
    assert first.id != second.id
    assert 0 < (first.deadline - before).total_seconds() < 30 + TIMEOUT_S
    assert failures(node, "one") == ["unavailable"]


@pytest.mark.parametrize(
    ("status", "failed", "ends"),
    [(409, ["rejected"], "COMPENSATED"), (429, ["unavailable"], "COMPLETED"), (500, ["unknown"], "COMPLETED")],
)
def test_a_reply_means_what_the_same_answer_over_http_means(
    url: str, open_node: Open, status: int, failed: list[str], ends: str
) -> None:
    """Done, rejected, unavailable, or unknown; a repetition has the same key."""
    app = Counted(lambda count, method: (status if (count, method) == (1, "POST") else 200, {"n": count}))
    node = open_node()
    with Listener(url, app):
        assert start(node, "one").result(TIMEOUT_S).status == ends
    assert failures(node, "one") == failed
    assert len(set(app.keys("POST"))) == 1


def test_no_thread_waits_for_a_reply(url: str, open_node: Open) -> None:
    """A worker with one thread for calls has a hundred under way, and then hears of each."""
    node = open_node(call_threads=1)
    handles = [start(node, f"s{number}") for number in range(100)]
    with Scripted(url) as participant:
        until(lambda: participant.waiting == len(handles), TIMEOUT_S)
        assert len([found for found in threading.enumerate() if found.name.startswith("saga-es-call-")]) == 1
        for _ in handles:
            participant.reply(participant.next(), 201)
        assert Counter(handle.result(TIMEOUT_S).status for handle in handles) == {"COMPLETED": len(handles)}


def test_the_next_worker_makes_the_call_again_with_the_same_key(url: str, open_node: Open) -> None:
    """The reply to a worker that is gone reaches nobody; the one to the next worker's message counts."""
    node = open_node()
    start(node, "one")
    with Scripted(url) as participant:
        first = participant.next()
        node.close()
        participant.reply(first, 409)
        node = open_node()
        second = participant.next()
        assert (second.key, second.saga_id) == (first.key, "one")
        assert second.reply_to != first.reply_to
        participant.reply(second, 201, {"room": 7})
        until(lambda: node.engine.status("one").status == "COMPLETED", TIMEOUT_S)


def test_a_doubled_a_foreign_and_an_unreadable_reply_change_nothing(url: str, open_node: Open) -> None:
    """The first reply to the message counts; one with another key or id is nobody's."""
    node = open_node()
    handle = start(node, "one")
    with Scripted(url) as participant:
        command = participant.next()
        participant.say(command.reply_to, b"{not a reply")
        participant.reply(command, 409, id="another", key="another")
        participant.reply(command, 409, id="another")
        participant.reply(command, 201, {"room": 7})
        participant.reply(command, 409)
        assert handle.result(TIMEOUT_S).results["book"] == {"room": 7}


def test_a_late_reply_that_says_done_answers_the_attempt_after_it(url: str, open_node: Open) -> None:
    """The key decides: the call was done, whichever message asked for it. The later reply is no news."""
    node = open_node(trip(timeout_s=2.0))
    handle = start(node, "one")
    with Scripted(url) as participant:
        first = participant.next()
        second = participant.next()
        participant.reply(first, 201, {"room": 7})
        assert handle.result(TIMEOUT_S).results["book"] == {"room": 7}
        participant.reply(second, 409)
    assert failures(node, "one") == ["unknown"]
    assert (first.key, second.attempt) == (second.key, 2)


def test_a_late_refusal_says_nothing_about_the_attempt_after_it(url: str, open_node: Open) -> None:
    """The message that is under way may still be done."""
    node = open_node(trip(timeout_s=2.0))
    handle = start(node, "one")
    with Scripted(url) as participant:
        first = participant.next()
        second = participant.next()
        participant.reply(first, 409)
        participant.reply(second, 201, {"room": 7})
        assert handle.result(TIMEOUT_S).results["book"] == {"room": 7}


def test_commands_and_replies_survive_a_broker_that_is_killed(url: str, open_node: Open, hotel: CarefulHotel) -> None:
    """They are on its disk; worker and service come back to it, and no attempt was in vain."""
    server = brokers.rabbitmq()
    node = open_node()
    with Listener(url, hotel.app):
        assert start(node, "before").result(TIMEOUT_S).status == "COMPLETED"
    handles = [start(node, f"s{number}") for number in range(20)]
    with Scripted(url) as participant:
        until(lambda: participant.waiting == len(handles), TIMEOUT_S)
    server.kill()
    server.start()
    answers(server.port)
    with Listener(url, hotel.app):
        assert {handle.result(TIMEOUT_S).status for handle in handles} == {"COMPLETED"}
    assert len(hotel.guests) == 1 + len(handles)
    assert [failed for number in range(20) for failed in failures(node, f"s{number}") if failed == "unknown"] == []


def test_a_broker_that_is_away_is_a_participant_that_cannot_be_reached() -> None:
    """Nothing was sent: the attempt is unavailable. Neither user nor password is told."""
    transport = QueueTransport(f"amqp://ada:hunter2@127.0.0.1:{programs.free_port()}/?queue=q", "participant 'hotel'")
    try:
        with pytest.raises(NotSent, match=r"participant 'hotel' cannot be reached: .*refused") as refused:
            transport.send("GET", "/rooms", {}, None, TIMEOUT_S)
    finally:
        transport.close()
    assert "hunter2" not in str(refused.value) + repr(transport.url)


@pytest.mark.parametrize(
    ("url", "settings", "cure"),
    [
        ("amqp://broker.example/?queue=q", {}, "write amqps://"),
        ("amqps://broker.example/?queue=q", {"credentials": {"hotel": {"auth": "bearer x"}}}, "stand in its URL"),
    ],
)
def test_a_queue_that_all_could_read_or_a_credential_for_http_is_refused(
    tmp_path: Path, url: str, settings: dict[str, Any], cure: str
) -> None:
    """When the node opens, with the cure."""
    given = {"database_url": f"sqlite:///{tmp_path / 'log.db'}", "participants": {"hotel": url}, **settings}
    node = Node(Settings.load(given), App(sagas=[trip()]))
    try:
        with pytest.raises(BadCredentials, match=cure):
            node.open()
    finally:
        node.close()


def test_a_participant_behind_a_queue_can_be_checked(url: str, hotel: CarefulHotel) -> None:
    """By the same checks as one over HTTP."""
    with Listener(url, hotel.app, threads=4):
        done = run_cli(
            *("participant", "check", url, "--action", ACTION, "--body", '{"guest": "Ada"}'),
            *("--compensation", COMPENSATION),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert hotel.guests == []


def test_a_flaw_of_a_participant_behind_a_queue_is_found() -> None:
    """One that books again and again fails the checks of that."""
    url = new_queue()
    with Listener(url, CarelessHotel(Flaw.ACTS_AGAIN).app):
        report = check_participant(url, action=ACTION, compensation=COMPENSATION, body=BODY)
    failed = {finding.check for finding in report.checks if finding.verdict is Verdict.FAILED}
    assert failed == {"repeated action", "action 16 times at once"}
