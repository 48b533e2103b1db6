"""The wheel: what travels in it is enough, and nothing else travels in it."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sqlite3
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support.left_out import left_out
from tests.support.processes import ROOT
from tests.support.trips import until

BUILD_PATIENCE_S = 180.0
PATIENCE_S = 300.0
"""The longest that a fresh environment takes to get its packages."""

EXTRAS = ("rich", "structlog", "waitress", "flask_smorest", "flask_swagger_ui", "psycopg", "pymysql")
READMES = re.findall(r"```python\n(?!def test_)(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, freshly built."""
    folder = tmp_path_factory.mktemp("wheel")
    # With the build backend at hand no network is needed; without it, build gets it by itself.
    at_hand = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    command = [sys.executable, "-m", "build", "--wheel", *at_hand, "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=BUILD_PATIENCE_S)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed, without what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True, timeout=BUILD_PATIENCE_S)
    return folder


def fresh(wheel: Path, folder: Path, extras: str = "") -> Path:
    """The Python of a fresh environment, in which this wheel is installed with what it needs, and with these extras."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}{extras}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if "No matching distribution" in done.stderr:
        left_out("A package index", done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel without any extra."""
    return fresh(wheel, tmp_path_factory.mktemp("bare"))


@contextmanager
def serving(python: Path, folder: Path) -> Iterator[str]:
    """The URL of `saga-es serve` of an environment; it is asked to stop at the end."""
    command = [str(python.with_name("saga-es")), "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said: list[str] = []
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"Serving .* on (\S+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail("".join(said))
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


def test_the_wheel_has_one_top_level_package(wheel: Path) -> None:
    """The demo and the migrations are no packages of their own: `services` and `migrations` are everybody's names."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"saga_es"}
    assert not [name for name in names if name.endswith((".pyc", ".db", ".sqlite")) or "/tests/" in name]
    assert any(name.startswith("saga_es/_migrations/versions/") for name in names)


def test_the_wheel_is_typed_and_licensed(wheel: Path) -> None:
    """`py.typed` and the licence are in it."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "saga_es/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_an_installed_wheel_migrates_a_database_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """`python -m saga_es db upgrade`: the code is that of the wheel, and the tables are made."""
    where = environment(PYTHONPATH=os.fspath(installed), SAGA_ES_DATABASE_URL="sqlite:///made.sqlite")
    code = "import saga_es, os; print(os.path.dirname(saga_es.__file__))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=where, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == installed / "saga_es"
    done = subprocess.run(
        [sys.executable, "-m", "saga_es", "db", "upgrade"],
        cwd=tmp_path,
        env=where,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "made.sqlite")) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"saga_events", "saga_workers", "sagas"} <= tables
    assert "venues" not in tables, "the demo's views belong to the demo"


def test_without_extras_the_wheel_runs_the_saga_of_the_readme(bare: Path, tmp_path: Path) -> None:
    """A fresh environment has what a library needs, and none of the extras."""
    there = [f"{name!r}: bool(importlib.util.find_spec({name!r}))" for name in EXTRAS]
    code = f"import importlib.util; print({{{', '.join(there)}}})"
    found = subprocess.run([str(bare), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(dict.fromkeys(EXTRAS, False))
    done = subprocess.run(
        [str(bare), "-c", READMES[0]],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.stdout.splitlines()[::2] == ["COMPLETED", "COMPENSATED"], done.stderr


def test_without_extras_the_command_line_says_how_to_get_them(bare: Path, tmp_path: Path) -> None:
    """One line, and exit code 78."""
    command = [str(bare.with_name("saga-es")), "serve"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    (line,) = done.stderr.splitlines()
    assert "install saga-es[server]" in line
    assert done.returncode == 78


def test_with_the_extra_for_it_the_wheel_serves(wheel: Path, tmp_path: Path) -> None:
    """`saga-es[server]` serves the API and its pages over SQLite, without the drivers of other databases."""
    python = fresh(wheel, tmp_path / "with_server", "[server]")
    with serving(python, tmp_path) as url:
        until(lambda: requests.get(f"{url}/readyz", timeout=TIMEOUT_S).json()["status"] == "ready")
        assert requests.get(f"{url}/docs/", timeout=TIMEOUT_S).ok
        assert requests.get(f"{url}/api/saga/list", timeout=TIMEOUT_S).json()["transactions"] == []
