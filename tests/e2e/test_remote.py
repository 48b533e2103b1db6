"""`--url` and `--key-file`: an operator without access to the database gives the same commands over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
import waitress
from click.testing import CliRunner, Result

from saga_es import App
from saga_es.access import Principal
from saga_es.cli import main
from saga_es.core import events as e
from tests.api.conftest import Served, opened
from tests.support.journeys_served import journey

ANN = Principal("ann", ["operator", "service"])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Served, str, Path]]:
    """A server that asks for keys, its URL, and the file with Ann's key."""
    with ExitStack() as stack:
        app = msgspec.structs.replace(App(sagas=[journey()]), auth="keys")
        made = opened(stack, f"sqlite:///{tmp_path}/saga.db", app)
        server = waitress.create_server(made.app, host="127.0.0.1", port=0, threads=2)
        Thread(target=server.run, daemon=True).start()
        stack.callback(server.close)
        file = tmp_path / "key"
        file.touch(0o600)
        file.write_text(made.node.keys.create(ANN, "cli:root@desk").text + "\n")
        yield made, f"http://127.0.0.1:{server.effective_port}/api/saga", file


def run(url: str, file: Path | None, *words: str) -> Result:
    """A command for a server; the database that it names is not there."""
    key = [] if file is None else ["--key-file", str(file)]
    return CliRunner().invoke(main, ["--database-url", "sqlite:////nowhere/saga.db", *words, "--url", url, *key])


def started(served: Served) -> str:
    return served.node.engine.start("journey", {}, by=ANN.starter).saga_id


def last(served: Served, saga_id: str, kind: type[Any]) -> Any:
    return [found.event for found in served.node.store.log.read(saga_id) if isinstance(found.event, kind)][-1]


def test_commands_are_given_over_http(served: tuple[Served, str, Path]) -> None:
    """The actor is the owner of the key; the user and host are on whose behalf it acts."""
    node, url, file = served
    saga_id = started(node)
    preview = run(url, file, "cancel", saga_id, "--preview", "--json")
    assert "would_compensate" in json.loads(preview.stdout)
    done = run(url, file, "pause", saga_id, "--reason", "why")
    assert (done.exit_code, done.stdout.startswith("Recorded the pause. The saga has been paused by ann")) == (0, True)
    paused = last(node, saga_id, e.SagaPaused)
    assert (paused.actor, paused.on_behalf_of.startswith("cli:"), paused.reason) == ("ann", True, "why")
    assert run(url, file, "resume", saga_id, "--reason", "go on").exit_code == 0
    sent = run(url, file, "signal", saga_id, "approval", "--payload", '"granted"', "--key", "k")
    assert sent.exit_code == 0, sent.output
    signal = last(node, saga_id, e.SignalReceived)
    assert (signal.payload, signal.key, signal.actor) == ("granted", "k", "ann")


def test_what_the_server_refuses_ends_the_command(served: tuple[Served, str, Path], tmp_path: Path) -> None:
    """With the exit code of the same command on the database, and the server's words."""
    node, url, file = served
    saga_id = started(node)
    unknown = run(url, file, "pause", "unknown", "--reason", "x")
    assert (unknown.exit_code, "no saga has the id" in unknown.stderr) == (3, True)
    assert run(url, file, "resume", saga_id, "--reason", "x").exit_code == 1
    forbidden = run(url, file, "resolve", saga_id, "--reason", "x")
    assert (forbidden.exit_code, "lacks 'resolve'" in forbidden.stderr) == (1, True)
    stranger = run(url, None, "pause", saga_id, "--reason", "x")
    assert (stranger.exit_code, "401" in stranger.stderr) == (1, True)
    away = run("http://127.0.0.1:1/api/saga", file, "pause", saga_id, "--reason", "x")
    assert (away.exit_code, "cannot be reached" in away.stderr) == (1, True)
    assert run("http://shop.example/api/saga", file, "pause", saga_id, "--reason", "x").exit_code == 2
    file.chmod(0o640)
    exposed = run(url, file, "pause", saga_id, "--reason", "x")
    assert (exposed.exit_code, "chmod 600" in exposed.stderr) == (2, True)
    assert run(url, tmp_path / "none", "pause", saga_id, "--reason", "x").exit_code == 2
