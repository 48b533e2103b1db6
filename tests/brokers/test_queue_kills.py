"""The demonstration with a service behind a queue, while worker, service and broker are killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Server, run_cli
from tests.support import brokers
from tests.support.queues import answers, new_queue, new_subject

SAGAS = 24
PATIENCE_S = 120.0


class Demonstration:
    """A worker that calls the venue service over a queue, and the process of that service; both can be killed."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self._settings = {"SAGA_ES_DATABASE_URL": f"sqlite:///{folder}/saga.sqlite", "SAGA_ES_LEASE_S": "2"}
        self.url = url
        self._stack = stack
        self.worker = self._worker()
        self.service = self._service()

    def kill_worker(self) -> None:
        """Kill -9 the worker, and start another."""
        self.worker.kill()
        self.worker = self._worker()

    def kill_service(self) -> None:
        """Kill -9 the service, and start another."""
        self.service.kill()
        self.service = self._service()

    def kill_broker(self) -> None:
        """Kill -9 the broker, and start it again."""
        server = brokers.rabbitmq()
        server.kill()
        server.start()
        answers(server.port)

    def _worker(self) -> Server:
        return self._started("--only", "saga", SAGA_ES_PARTICIPANT_VENUE=self.url)

    def _service(self) -> Server:
        return self._started("--only", "venue", "--listen", self.url)

    def _started(self, *arguments: str, **settings: str) -> Server:
        server = Server("--port", "0", *arguments, settings={**self._settings, **settings})
        self._stack.callback(server.close)
        server.ready()
        return server


@pytest.fixture
def demonstration(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Demonstration]:
    """The demonstration, at work over a broker; RabbitMQ, unless the test names another."""
    url = {"rabbitmq": new_queue, "nats": new_subject}[getattr(request, "param", "rabbitmq")]()
    with ExitStack() as stack:
        yield Demonstration(tmp_path, url, stack)


def started(worker: Server, number: int) -> str:
    """Start a saga; every third one fails at its last step, and so gives its venue back."""
    body: dict[str, Any] = {"name": f"Concert {number}"}
    if number % 3 == 0:
        body["fail_at_step"] = "ticket"
    answer = worker.post("/api/saga/execute", body, Prefer="respond-async", Idempotency_Key=f"key-{number}")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["transaction_id"])


def ended(demonstration: Demonstration, ids: list[str]) -> list[str]:
    """Wait until all sagas have ended; how."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [demonstration.worker.get(f"/api/saga/status/{saga_id}")["status"] for saga_id in ids]
        if set(found) <= {"COMPLETED", "COMPENSATED", "FAILED"}:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("demonstration", "killed"),
    [("rabbitmq", "worker and service"), ("rabbitmq", "broker"), ("nats", "worker and service")],
    indirect=["demonstration"],
)
def test_the_demonstration_loses_and_doubles_nothing_over_a_queue(demonstration: Demonstration, killed: str) -> None:
    """Whatever is killed with calls under way: each saga ends as it should, and has its one venue, or none."""
    ids = []
    kills = {
        "worker and service": {
            5: demonstration.kill_worker,
            13: demonstration.kill_service,
            21: demonstration.kill_worker,
        },
        "broker": {13: demonstration.kill_broker},
    }[killed]
    for number in range(SAGAS):
        ids.append(started(demonstration.worker, number))
        if number in kills:
            kills[number]()
    expected = ["COMPENSATED" if number % 3 == 0 else "COMPLETED" for number in range(SAGAS)]
    assert ended(demonstration, ids) == expected
    kept = demonstration.worker.get("/demo/database-status")["summary"]
    assert kept["venues_count"] == kept["tickets_count"] == expected.count("COMPLETED")


def test_the_saga_api_is_out_of_reach_of_a_queue(demonstration: Demonstration) -> None:
    """Who may write to a queue may call its services, and start no saga."""
    calls = ("--action", "POST /api/saga/execute", "--body", '{"name": "Concert"}', "--compensation", "DELETE /x")
    done = run_cli("participant", "check", demonstration.url, *calls)
    assert (done.returncode, "HTTP 404" in done.stdout) == (7, True), done.stdout
    assert demonstration.worker.get("/api/saga/list")["transactions"] == []
