"""A worker without HTTP has health and metrics on a port of their own; processes of one server add up."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import TIMEOUT_S, environment, run_cli
from tests.support import processes
from tests.support.trips import until


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def worker(sqlite_url: str) -> Iterator[str]:
    """The URL of the probes of a running worker."""
    settings = {"SAGA_ES_DATABASE_URL": sqlite_url, "SAGA_ES_APP": "services"}
    port = str(free_port())
    process, saying = processes.start(
        "saga_es", "worker", "--health-port", port, cwd=processes.ROOT, env=environment(**settings)
    )
    try:
        assert any(line.startswith("Working as") for line in saying)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
        saying.close()


def test_a_worker_serves_health_and_metrics(worker: str) -> None:
    """And nothing else of the application."""
    assert requests.get(f"{worker}/livez", timeout=TIMEOUT_S).json() == {"status": "alive"}
    until(lambda: requests.get(f"{worker}/readyz", timeout=TIMEOUT_S).ok)  # the first heartbeat has been written
    ready = requests.get(f"{worker}/readyz", timeout=TIMEOUT_S)
    assert ready.status_code == 200, ready.text
    assert "saga_es_workers_alive 1.0" in requests.get(f"{worker}/metrics", timeout=TIMEOUT_S).text
    assert requests.get(f"{worker}/api/saga/list", timeout=TIMEOUT_S).status_code == 404


def test_a_taken_health_port_is_one_line_with_the_cure(sqlite_url: str) -> None:
    """Exit 1 before any saga is taken over."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_cli("worker", "--health-port", port, settings={"SAGA_ES_DATABASE_URL": sqlite_url})
    assert done.returncode == 1
    assert re.search(r"^saga-es: cannot serve on 127\.0\.0\.1:\d+: .*--health-port$", done.stderr, re.MULTILINE)


PROGRAM = """
import sys
from saga_es import Saga, open_engine
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings

saga = Saga("counted")

@saga.step(compensation=None)
def one(input):
    return 1

node = Node(Settings.load({"database_url": sys.argv[1]}, environ={}), App(sagas=[saga]))
node.open()
for _ in range(int(sys.argv[2])):
    node.engine.start(saga, {}).result(20)
print(node.meter.page("")[0].decode())
node.close()
"""


def test_the_processes_of_one_server_add_up(tmp_path: Path, sqlite_url: str) -> None:
    """With the folder that prometheus-client wants, each page has the sums of all."""
    shared = tmp_path / "metrics"
    shared.mkdir()
    env = environment(PROMETHEUS_MULTIPROC_DIR=str(shared))
    for sagas, expected in ((3, 3.0), (4, 7.0)):
        done = processes.run("-c", PROGRAM, sqlite_url, str(sagas), cwd=tmp_path, env=env, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        assert f'saga_es_sagas_started_total{{saga="counted"}} {expected}' in done.stdout
        assert f'saga_es_saga_duration_seconds_count{{saga="counted",status="COMPLETED"}} {expected}' in done.stdout
