"""Signals whose handlers return interrupt what a process waits for, and end nothing: no saga, no worker, no server."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue

import pytest
import requests

from saga_es.core import events as e
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support import processes
from tests.support.hammered_app import HAMMERED, app
from tests.support.processes import ROOT

SAGAS = 40


class _Venue(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer after a moment, in two parts."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        threading.Event().wait(0.05)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{")
        threading.Event().wait(0.02)
        self.wfile.write(b"}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@pytest.fixture
def venue() -> Iterator[str]:
    """A participant that takes its time."""
    server = _Server(("127.0.0.1", 0), _Venue)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def running(*arguments: str, says: str, **settings: str) -> Iterator[tuple[processes.Process, str]]:
    """A process that is interrupted all the time, and the line that it says when it is ready."""
    process, saying = processes.start("saga_es", *arguments, cwd=ROOT, env=environment(**settings))
    said: Queue[str] = Queue()
    all_of_it: list[str] = []

    def listen() -> None:
        for line in saying:
            all_of_it.append(line)
            if line.startswith(says):
                said.put(line)

    listening = threading.Thread(target=listen)
    listening.start()
    try:
        try:
            line = said.get(timeout=TIMEOUT_S)
        except Empty:
            raise AssertionError("".join(all_of_it)) from None
        yield process, line
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0, "".join(all_of_it)
        assert not [line for line in all_of_it if "Interrupted" in line or "rror" in line], "".join(all_of_it)
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
        listening.join()
        saying.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("worker",), "Working as "), (("serve", "--port", "0"), "Serving ")],
    ids=["worker", "server"],
)
def test_signals_that_interrupt_everything_end_nothing(
    database_url: str, venue: str, arguments: tuple[str, ...], says: str
) -> None:
    """Sagas with one attempt for each call: all are COMPLETED, none was called twice, and the process ends as asked."""
    node = Node(Settings.load({"database_url": database_url}), app)
    migrate.upgrade(node.database, node.store.log, node.views)
    settings = {
        "SAGA_ES_DATABASE_URL": database_url,
        HAMMERED: "1",
        "SAGA_ES_APP": "tests.support.hammered_app",
        "SAGA_ES_PARTICIPANT_VENUE": venue,
    }
    with running(*arguments, says=says, **settings) as (process, line):
        ids = [node.client.start("order", {}).saga_id for _ in range(SAGAS)]
        if arguments[0] == "serve":
            url = line.partition(" on ")[2].split()[0]
            for saga_id in ids:
                asked = requests.get(f"{url}/api/saga/status/{saga_id}", timeout=TIMEOUT_S)
                assert asked.status_code == 200, asked.text
        results = [node.client.result(saga_id, 2 * TIMEOUT_S) for saga_id in ids]
        assert process.poll() is None
    assert [result.status for result in results] == ["COMPLETED"] * SAGAS
    heard = results[-1].results["count"]
    assert min(heard["SIGALRM"], heard["SIGUSR1"]) > 50
    for saga_id in ids:
        events = [recorded.event for recorded in node.store.log.read(saga_id)]
        assert not [event for event in events if isinstance(event, e.StepFailed | e.SagaTakenOver) and _is_odd(event)]
    node.database.close()


def _is_odd(event: e.StepFailed | e.SagaTakenOver) -> bool:
    """A saga that a client started waits for its first worker, which takes it over from nobody."""
    return not (isinstance(event, e.SagaTakenOver) and event.previous is None)
