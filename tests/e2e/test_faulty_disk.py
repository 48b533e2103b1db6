"""The disk below SQLite is full, broken, or aborted read-only while a real server is at work: it waits, and goes on."""

from __future__ import annotations

import shutil
import subprocess
import threading
from errno import EIO, ENOSPC, EROFS
from pathlib import Path

import pytest
import requests

import services
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.e2e.conftest import TIMEOUT_S, Server, StartServer
from tests.e2e.test_server import EXECUTE, counts
from tests.support.left_out import left_out
from tests.support.participants import Hangs, Participant
from tests.torture.reckoning import broken_rules, streams_of, wrong_views

FAULTS = {
    "it is full": (ENOSPC, "write"),
    "writing fails": (EIO, "write"),
    "syncing fails": (EIO, "sync"),
    "everything fails": (EIO, "write sync read"),
    "it was aborted read-only": (EROFS, "write sync"),
}

SHIM = Path(__file__).with_name("faulty_disk.c")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk that fails when it is told to, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        left_out("A C compiler", "there is no `cc` to make a disk fail with")
    made = tmp_path_factory.mktemp("shim") / "faulty_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SHIM), "-ldl"], check=True)
    return made


def look(server: Server, path: str) -> requests.Response:
    return requests.get(server.url + path, timeout=TIMEOUT_S)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_server_lives_through_a_faulty_disk(
    start_server: StartServer, shim: Path, tmp_path: Path, sqlite_url: str, fault: tuple[int, str]
) -> None:
    """One saga is under way, one is asked for: 503 and when to come again; afterwards both end, each effect once."""
    answer, order = threading.Event(), tmp_path / "order"
    with Participant(lambda _: Hangs(answer)) as ticket:
        settings = {
            "SAGA_ES_PARTICIPANT_TICKET": ticket.url,
            "SAGA_ES_EXECUTE_TIMEOUT_S": "1",
            "LD_PRELOAD": str(shim),
            "FAULTY_DISK": str(order),
        }
        server = start_server(settings=settings)
        under_way = server.post(EXECUTE, {"name": "Concert"}, Prefer="respond-async").json()["transaction_id"]
        ticket.wait_for_calls(1)

        order.write_text(f"{fault[0]} {fault[1]}")
        answer.set()
        refused = server.post(EXECUTE, {"name": "Other"}, Idempotency_Key="k")
        assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
        assert int(refused.headers["Retry-After"]) > 0
        looks = [look(server, "/api/saga/list"), look(server, f"/api/saga/status/{under_way}")]
        assert {seen.status_code for seen in looks} <= {200, 503}
        assert len(ticket.calls) == 1, "nothing is called whose intent cannot be committed"

        order.unlink()
        assert server.wait_for_end(under_way)["status"] == "COMPLETED"
        again = server.post(EXECUTE, {"name": "Other"}, Idempotency_Key="k")
        assert again.status_code in {200, 202}, again.text
        assert server.wait_for_end(again.json()["transaction_id"])["status"] == "COMPLETED"
        assert len(ticket.calls) == 2
        assert counts(server)[:3] == [2, 2, 2]
    server.kill()
    assert_whole(sqlite_url)


def assert_whole(url: str) -> None:
    """Every stream keeps the rules, and every view is what the log tells."""
    node = Node(Settings.load({"database_url": url}, environ={}), services.app)
    try:
        assert [fault for state, history in streams_of(node.store.log) for fault in broken_rules(state, history)] == []
        assert wrong_views(node.store.log, services.app.views) == []
    finally:
        node.close()
