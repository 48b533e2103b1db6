"""Requests that wait for their sagas keep nobody else from the server, and have a bound of their own."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import requests

from tests.e2e.conftest import TIMEOUT_S, Server, StartServer
from tests.e2e.test_server import EXECUTE
from tests.support.participants import Hangs, Participant
from tests.support.trips import until

WAITING = 12

UNFINISHED = (
    b"POST /api/saga/execute HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /api/saga/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
)


def status_of(server: Server, number: int) -> int:
    return requests.post(server.url + EXECUTE, json={"name": f"Concert {number}"}, timeout=2 * TIMEOUT_S).status_code


def test_health_and_status_are_answered_while_more_requests_wait_than_there_are_threads(
    start_server: StartServer,
) -> None:
    """One more than may wait is 429 with the time to try again, and starts nothing; who does not wait is let in."""
    answered = threading.Event()
    with Participant(lambda _: Hangs(answered)) as ticket, ThreadPoolExecutor(WAITING) as pool:
        server = start_server(
            *("--threads", "1", "--waiting-requests", str(WAITING)),
            settings={"SAGA_ES_PARTICIPANT_TICKET": ticket.url},
        )
        try:
            waiting = [pool.submit(status_of, server, number) for number in range(WAITING)]
            until(lambda: server.get("/api/saga/health")["active_transactions"] == WAITING)

            refused = server.post(EXECUTE, {"name": "One too many"})
            assert (refused.status_code, refused.headers["Content-Type"]) == (429, "application/problem+json")
            assert int(refused.headers["Retry-After"]) > 0
            assert f"{WAITING} requests wait" in refused.json()["detail"]
            assert server.get("/api/saga/health")["active_transactions"] == WAITING
            assert server.post(EXECUTE, {"name": "In time"}, Prefer="respond-async").status_code == 202
        finally:
            answered.set()
        assert {asked.result(TIMEOUT_S) for asked in waiting} == {200}
        assert server.post(EXECUTE, {"name": "Later"}).status_code == 200


def test_requests_that_never_become_whole_keep_nobody_from_the_server(start_server: StartServer) -> None:
    """Half requests and unfinished bodies, ten times as many as threads: cut after a time, they start nothing."""
    server = start_server("--threads", "1", "--waiting-requests", "1", "--request-timeout-s", "1")
    address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
    unfinished = [socket.create_connection(address, TIMEOUT_S) for _ in range(20)]
    for number, connection in enumerate(unfinished):
        connection.sendall(UNFINISHED[number % len(UNFINISHED)])
    assert server.post(EXECUTE, {"name": "Concert"}).status_code == 200
    for connection in unfinished:
        with connection:
            assert connection.recv(1) == b""
    assert len(server.get("/api/saga/list")["transactions"]) == 1
