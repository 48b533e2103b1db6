"""The wheel: what travels in it is enough, and nothing else travels in it."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support.processes import ROOT

BUILD_PATIENCE_S = 180.0


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
