"""The processes of these tests are forked from one that has imported everything: that makes no difference."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import services
from tests.api.conftest import opened
from tests.api.test_execute import EXECUTE, body_of
from tests.e2e.conftest import TIMEOUT_S, environment, run_cli


@pytest.mark.parametrize("arguments", [("list",), ("show", "nobody"), ("list", "--status", "LOST"), ("--help",)])
def test_a_command_that_starts_cold_does_the_same(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What it prints, what it says, and how it ends; in the same folder, where there is a database with a saga."""
    url = f"sqlite:///{tmp_path}/saga.sqlite"
    with ExitStack() as stack:
        body_of(opened(stack, url, services.app).client.post(EXECUTE, json={"name": "Concert"}), 200)
    command = [*arguments, "--database-url", url] if arguments[0] != "--help" else [*arguments]
    cold = subprocess.run(
        [sys.executable, "-m", "saga_es", *command],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    forked = run_cli(*command, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (cold.returncode, cold.stdout, cold.stderr)
