"""Real processes of `saga-es`: servers that are started, watched by what they print, and always ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import pytest
import requests

from tests.support import processes
from tests.support.processes import ROOT

TIMEOUT_S = 30.0
"""The longest a test waits for a process to say or do something."""


def environment(**settings: str) -> dict[str, str]:
    """The environment without any of our settings but these."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SAGA_ES_")}
    return {**ours, "PYTHONUNBUFFERED": "1", **settings}


def run_cli(
    *arguments: str, cwd: Path = ROOT, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return processes.run("saga_es", *arguments, cwd=cwd, env=environment(**(settings or {})), timeout=TIMEOUT_S)


def assert_refused(done: subprocess.CompletedProcess[str], code: int) -> None:
    """The command ended with this code, printed no data, and said why without a stack trace."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


class Server:
    """One `saga-es serve` process; made when it says that it serves."""

    def __init__(self, *arguments: str, settings: Mapping[str, str], cwd: Path = ROOT) -> None:
        self.said: list[str] = []
        self._heard = threading.Condition()
        self._process, self._saying = processes.start(
            "saga_es", "serve", *arguments, cwd=cwd, env=environment(**settings)
        )
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()
        self._session = requests.Session()
        self.url = ""

    def ready(self) -> None:
        """Block until it says where it serves."""
        line = self.wait_for_line(lambda said: said.startswith("Serving "))
        self.url = line.partition(" on ")[2].split()[0]

    def wait_for_line(self, wanted: Callable[[str], bool]) -> str:
        """Block until it has said such a line on stderr; that line."""
        with self._heard:
            self._heard.wait_for(lambda: any(map(wanted, self.said)) or self._process.poll() is not None, TIMEOUT_S)
            found = next(filter(wanted, self.said), None)
            assert found is not None, "".join(self.said)
            return found

    def get(self, path: str) -> Any:
        """The JSON at a path, which is there."""
        response = self._session.get(self.url + path, timeout=TIMEOUT_S)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Post JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.post(self.url + path, json=body, headers=named, timeout=TIMEOUT_S)

    def wait_for_end(self, transaction_id: str) -> dict[str, Any]:
        """Ask for a saga's status until it has ended; its last status."""
        deadline = monotonic() + TIMEOUT_S
        while True:
            found: dict[str, Any] = self.get(f"/api/saga/status/{transaction_id}")
            if found["status"] in {"COMPLETED", "COMPENSATED", "FAILED"}:
                return found
            assert monotonic() < deadline, found

    def wait_until_refused(self) -> None:
        """Try to connect until nobody listens any more."""
        host, port = self.url.removeprefix("http://").split(":")
        deadline = monotonic() + TIMEOUT_S
        while monotonic() < deadline:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                return
        raise AssertionError(f"{self.url} is still there")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def ask_to_stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self._process.send_signal(how)

    def exit_code(self, within_s: float = TIMEOUT_S) -> int:
        """Its exit code; it must end within so many seconds."""
        return self._process.wait(within_s)

    def close(self) -> None:
        """Make sure that it is gone."""
        self._session.close()
        self.kill()
        self._listening.join()
        self._saying.close()

    def _listen(self) -> None:
        for line in self._saying:
            with self._heard:
                self.said.append(line)
                self._heard.notify_all()
        with self._heard:
            self._process.wait()
            self._heard.notify_all()


class StartServer(Protocol):
    """Starts a server on the test's SQLite database and a free port; the test's end ends it."""

    def __call__(self, *arguments: str, settings: Mapping[str, str] | None = None, waits: bool = True) -> Server:
        """The server, ready unless told not to wait for that."""
        ...


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path / 'saga.sqlite'}"


@pytest.fixture
def start_server(sqlite_url: str) -> Iterator[StartServer]:
    """Starts any number of servers on one database."""
    with ExitStack() as stack:

        def start(*arguments: str, settings: Mapping[str, str] | None = None, waits: bool = True) -> Server:
            port = () if "--port" in arguments else ("--port", "0")
            server = Server(*port, *arguments, settings={"SAGA_ES_DATABASE_URL": sqlite_url, **(settings or {})})
            stack.callback(server.close)
            if waits:
                server.ready()
            return server

        yield start
