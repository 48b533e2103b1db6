"""`saga-es archive`, `import`, `export`, as they are typed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import services
from tests.api.conftest import opened
from tests.api.test_execute import EXECUTE
from tests.e2e.conftest import environment, run_cli
from tests.support.processes import ROOT

SOON = "2100-01-01"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database in which one saga has completed, and one was compensated; nobody serves it."""
    made = f"sqlite:///{tmp_path / 'saga.sqlite'}"
    with ExitStack() as stack:
        client = opened(stack, made, services.app).client
        client.post(EXECUTE, json={"name": "Concert"}, headers={"Idempotency-Key": "one"})
        client.post(EXECUTE, json={"name": "Concert", "fail_at_step": "venue"})
    return made


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(*arguments, settings={"SAGA_ES_DATABASE_URL": url, "SAGA_ES_APP": "services"})


def said(url: str, *arguments: str) -> dict[str, object]:
    done = run(url, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def ids(url: str) -> list[str]:
    return [saga["transaction_id"] for saga in json.loads(run(url, "list", "--json").stdout)["transactions"]]


def test_sagas_are_archived_asked_for_and_brought_back(url: str, tmp_path: Path) -> None:
    """Each command says how many in JSON, too; what is archived is exit code 3 with the file's name; all verifies."""
    before = ids(url)
    assert said(url, "archive", "--before", SOON, "--dry-run") == {"would_archive": 2}
    assert said(url, "archive", "--before", "2020-01-01T00:00:00+02:00", "--folder", str(tmp_path))["sagas"] == 0
    archived = said(url, "archive", "--before", SOON, "--folder", str(tmp_path))
    assert (archived["sagas"], archived["events"]) == (2, 23)
    (path,) = tmp_path.glob("saga-archive-*")
    assert archived["files"] == [path.name]
    assert ids(url) == []
    asked = run(url, "show", before[0])
    assert asked.returncode == 3
    assert path.name in asked.stderr
    assert run(url, "verify").returncode == 0

    file = str(path)
    assert said(url, "import", file, "--check") == {"streams": 3, "events": 24}
    assert said(url, "import", file) == {"back": 2, "new": 0, "there": 1, "events": 23}
    assert ids(url) == before
    assert run(url, "verify").returncode == 0


def test_a_saga_is_exported_and_read_and_verified_elsewhere(url: str, tmp_path: Path) -> None:
    """Byte for byte what it was; a changed file is exit code 7, and a saga there is not 3."""
    (saga_id, _), other = ids(url), f"sqlite:///{tmp_path / 'other.sqlite'}"
    file = tmp_path / "one.ndjson"
    with file.open("wb") as out:
        export = [sys.executable, "-m", "saga_es", "export", saga_id, "--database-url", url]
        subprocess.run(export, cwd=ROOT, env=environment(), stdout=out, check=True)
    assert run(other, "db", "upgrade").returncode == 0
    by = ("--actor", "ada", "--reason", "a look at it")
    assert said(other, "import", str(file), *by) == {"back": 0, "new": 2, "there": 0, "events": 14}
    *_, last = run(other, "events", "--json").stdout.splitlines()
    brought = json.loads(last)["data"]
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (brought["actor"], brought["reason"], brought["sha256"]) == ("ada", "a look at it", sha256)
    assert run(other, "show", saga_id, "--json").stdout == run(url, "show", saga_id, "--json").stdout
    assert run(other, "verify").returncode == 0

    file.write_text(file.read_text().replace("Concert", "Concret"))
    spoilt = run(other, "import", str(file))
    assert spoilt.returncode == 7
    assert "its hash differs" in spoilt.stderr
    assert run(url, "export", "nobody").returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("archive",),
        ("archive", "--before", "yesterday"),
        ("archive", "--before", SOON, "--folder", "/no/such/folder"),
        ("import",),
        ("import", "/no/such/file"),
        ("export",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Before any database is looked at."""
    assert run(f"sqlite:///{tmp_path / 'none.sqlite'}", *arguments).returncode == 2
