"""The program on the page on FastAPI does what the page says, under a real uvicorn."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import urllib3

from tests.docs.pages import DOCS
from tests.support.processes import ROOT

PAGE = (DOCS / "guide" / "fastapi.md").read_text()
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
TIMEOUT_S = 40.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The program, served by uvicorn; its URL and its process."""
    (tmp_path / "shop.py").write_text(PROGRAM)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.set_inheritable(True)
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--fd", str(listening.fileno()), "--log-level", "warning"]
    settings = {"SAGA_ES_DATABASE_URL": f"sqlite:///{tmp_path}/shop.db", "PYTHONPATH": str(ROOT)}
    with listening, (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, **settings},
            pass_fds=[listening.fileno()],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(TIMEOUT_S)


def test_an_order_is_started_run_on_uvicorns_loop_and_seen_in_the_api(
    served: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """A start is awaited, and so is an end; API and console are mounted; at SIGTERM the engine closes."""
    url, process = served
    with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False) as http:

        def answer(method: str, path: str, **sent: Any) -> urllib3.BaseHTTPResponse:
            return http.request(method, f"{url}{path}", **sent)

        done = answer("POST", "/orders/at-once", json={"pieces": 3})
        assert done.status == 200, (tmp_path / "said").read_text()
        placed = done.json()
        assert (placed["status"], placed["results"]) == (
            "COMPLETED",
            {"reserve": {"pieces": 3, "is_on_the_loop_of_uvicorn": True}},
        )
        accepted = answer("POST", "/orders", json={"pieces": 4})
        assert accepted.status == 202
        status = f"/admin/api/saga/status/{accepted.json()['id']}"
        assert answer("GET", status).status == 200
        deadline = monotonic() + TIMEOUT_S
        while answer("GET", status).json()["status"] != "COMPLETED":
            assert monotonic() < deadline
            sleep(0.05)
        assert placed["id"] in answer("GET", "/admin/console/sagas").data.decode()
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) in {0, -signal.SIGTERM}  # uvicorn shuts down, then passes the signal on
    assert "Traceback" not in (tmp_path / "said").read_text()
