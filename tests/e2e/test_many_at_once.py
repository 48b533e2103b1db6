"""Many sagas at once: more waiting requests than the server has threads, with participants near and far."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.e2e.conftest import TIMEOUT_S, Server, StartServer
from tests.e2e.test_server import EXECUTE, counts
from tests.support.participants import free_port

AT_ONCE = 48
NAMES = ("EVENT", "EVENT_DETAILS", "VENUE", "TICKET")


def participants_at(url: str) -> Mapping[str, str]:
    """The settings that send the calls to all four services there."""
    return {f"SAGA_ES_PARTICIPANT_{name}": url for name in NAMES}


def assert_all_complete(server: Server) -> None:
    """48 requests at once are all answered 200 COMPLETED, as sagas of their own, and leave 48 records each."""

    def ask(number: int) -> requests.Response:
        body = {"name": f"Concert {number}"}
        return requests.post(server.url + EXECUTE, json=body, timeout=2 * TIMEOUT_S)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, range(AT_ONCE)))
    assert [answer.status_code for answer in answers] == [200] * AT_ONCE, [answer.text for answer in answers][:3]
    assert {answer.json()["status"] for answer in answers} == {"COMPLETED"}
    assert len({answer.json()["transaction_id"] for answer in answers}) == AT_ONCE
    assert counts(server) == [AT_ONCE] * 4
    assert server.get("/api/saga/health")["active_transactions"] == 0


def test_48_at_once_complete_with_the_services_in_the_same_process(start_server: StartServer) -> None:
    """Eight threads, and a saga never waits for one of them to serve its own call."""
    assert_all_complete(start_server("--threads", "8"))


def test_48_at_once_complete_with_the_services_in_a_process_of_their_own(start_server: StartServer) -> None:
    """Over HTTP, on the same database."""
    other = start_server("--threads", "8", "--only", "event,event-details,venue,ticket")
    server = start_server("--threads", "8", settings=participants_at(other.url))
    assert_all_complete(server)


def test_48_at_once_complete_when_the_services_are_said_to_be_at_the_servers_own_address(
    start_server: StartServer,
) -> None:
    """The server notices, says so, and does not wait for itself."""
    port = free_port()
    server = start_server("--threads", "8", "--port", str(port), settings=participants_at(f"http://localhost:{port}"))
    assert any("a participant is this server" in line for line in server.said)
    assert_all_complete(server)
