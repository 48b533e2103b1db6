"""What the tests stand on: servers of our own that leave nothing behind, and tests that are left out aloud."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa

from tests.support import servers
from tests.support.left_out import REQUIRE
from tests.support.processes import ROOT
from tests.support.programs import Absent
from tests.support.servers import Found, Server
from tests.support.trips import until

CLOSED = "postgresql://postgres@127.0.0.1:9/postgres"
VARIABLE = "SAGA_ES_TEST_NO_SUCH_SERVER"

ONE_SERVER = """
import sys
from tests.support import servers
url, _ = servers._start_postgresql()
print(url, flush=True)
sys.stdin.read()
"""

NEEDS_A_UNICORN = """
import pytest
from tests.support.left_out import left_out

@pytest.mark.parametrize("n", range(3))
def test_that_a_unicorn_runs(n):
    left_out("A unicorn", "nobody has seen one")
"""


def absent() -> tuple[sa.URL, str]:
    raise Absent("there are no programs")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_of_our_own_ends_with_the_process_that_started_it(how: signal.Signals) -> None:
    """However that process ends; and what the server wrote is gone, too."""
    with TemporaryDirectory(prefix="saga-es-") as folder:
        Path(folder).chmod(0o777)  # the server runs as another user, where we are root
        with subprocess.Popen(
            [sys.executable, "-c", ONE_SERVER],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as started:
            assert started.stdout is not None
            url = sa.make_url(started.stdout.readline().strip())
            assert servers._version(url)
            assert list(Path(folder).glob("saga-es-server-*"))
            started.send_signal(how)
        until(lambda: servers._version(url) is None and not list(Path(folder).glob("saga-es-server-*")))


def test_a_server_that_answers_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the environment names, if it names one; none is started."""
    running = servers.found("postgresql")
    monkeypatch.setenv(VARIABLE, running.url)
    found = servers._search(Server("PostgreSQL", VARIABLE, CLOSED, absent))
    assert (found.name, found.url) == (running.name, running.url)


def test_a_server_that_is_missing_says_why() -> None:
    """It was looked for, and could not be started."""
    assert servers._search(Server("PostgreSQL", VARIABLE, CLOSED, absent)) == Found(
        "PostgreSQL", "", f"nothing answers at {CLOSED}, and there are no programs"
    )


def test_what_was_left_out_is_said_at_the_end(tmp_path: Path) -> None:
    """With why, how many tests that are, and the cure; also where workers run the tests."""
    done = run_unicorns(tmp_path, "--numprocesses", "1")
    assert done.returncode == 0, done.stdout
    assert "A unicorn: nobody has seen one (3 tests were left out)" in done.stdout
    assert "`make services`" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 skipped")


def test_where_all_is_required_nothing_is_left_out(tmp_path: Path) -> None:
    """What is missing fails its tests."""
    done = run_unicorns(tmp_path, **{REQUIRE: "all"})
    assert done.returncode == 1, done.stdout
    assert "A unicorn is missing, and SAGA_ES_TEST_REQUIRE=all requires it: nobody has seen one" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 failed")


def run_unicorns(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    file = folder / "test_unicorns.py"
    file.write_text(NEEDS_A_UNICORN)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.plugin", *arguments, str(file)],
        cwd=ROOT,
        env={**{name: value for name, value in os.environ.items() if name != REQUIRE}, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
