"""`saga-es init` writes an application that runs, keeps its promises when it is killed, and is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import TIMEOUT_S, environment
from tests.support.processes import ROOT

FILES = ["README.md", "pyproject.toml", "shop.py", "stock.py", *(f"tests/{n}.py" for n in ("__init__", "dying"))]


def python(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a module of Python's, or a program (`-c`), in a folder; its exit code, and what it said."""
    command = [sys.executable, *([] if arguments[0] == "-c" else ["-m"]), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), MYPYPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=12 * TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with the application."""
    code, said = python(tmp_path, "saga_es", "init", "my-shop")
    assert code == 0, said
    return tmp_path / "my-shop"


def test_the_application_passes_its_own_crash_tests(made: Path) -> None:
    """It is killed at every event in virtual time, and by a real kill -9; nothing is reserved twice or left over."""
    assert {*FILES, "tests/test_order.py"} == {
        str(file.relative_to(made)) for file in made.rglob("*") if file.is_file()
    }
    code, said = python(made, "pytest", "-q", "-p", "no:cacheprovider")
    assert code == 0, said
    assert "3 passed" in said


def test_a_careless_service_turns_its_tests_red(made: Path) -> None:
    """Without the barrier a lost answer makes a second reservation, and the tests of the application say so."""
    stock = made / "stock.py"
    careless = stock.read_text().replace("barrier.act(connection, call_key(), act)", "act()")
    assert careless != stock.read_text()
    stock.write_text(careless)
    code, said = python(made, "pytest", "-q", "-p", "no:cacheprovider", "-k", "every_crash")
    assert code == 1, said
    assert "[3, 3]" in said


def test_the_application_is_typed(made: Path) -> None:
    """`mypy --strict`, as its pyproject.toml asks for it, finds nothing."""
    code, said = python(made, "mypy", "--cache-dir", os.devnull)
    assert code == 0, said
    assert "Success" in said


def test_a_folder_with_files_is_left_alone(made: Path) -> None:
    """One line with the cure, and exit code 1; nothing is overwritten."""
    before = (made / "shop.py").read_text()
    code, said = python(made.parent, "saga_es", "init", "my-shop")
    assert (code, said) == (1, "saga-es: my-shop is not empty; name a new folder\n")
    assert (made / "shop.py").read_text() == before


def test_the_application_serves_its_own_routes(made: Path) -> None:
    """A plain blueprint of Flask's is served beside the saga API, which is described without it."""
    program = (
        "from saga_es.api import create_flask_app\n"
        "from saga_es.node.node import Node\n"
        "from saga_es.node.settings import Settings\n"
        "import shop\n"
        "node = Node(Settings.load({}, {}), shop.app)\n"
        "client = create_flask_app(node).test_client()\n"
        "print(client.post('/stock/reservations', json={'article': 'tea', 'pieces': 3}).get_json())\n"
        "paths = client.get('/openapi.json').get_json()['paths']\n"
        "print('/api/saga/list' in paths, [path for path in paths if 'stock' in path])\n"
        "node.database.close()\n"
    )
    code, said = python(made, "-c", program)
    assert (code, said.splitlines()) == (0, ["{'reservation': 1}", "True []"])
