"""What only the server, the command line or one database needs is an extra; without it, one line says how to get it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from saga_es.node.extras import SERVER

ROOT = Path(__file__).parents[2]
DRIVERS = ("psycopg", "pymysql")
EXTRAS = (*SERVER, *DRIVERS, "prometheus_client", "cryptography")
OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({[name for name in SERVER if name != 'click']!r}))\n"
"""An environment without the extra `server`; Flask itself brings click."""


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def named(requirement: str) -> str:
    """The name in a requirement."""
    return requirement.partition(">")[0].partition("[")[0].lower().replace("_", "-")


def test_the_library_needs_few_packages() -> None:
    """The database's tools, Flask, marshmallow and the events' encoding; nothing of a server, a console or a driver."""
    assert {named(requirement) for requirement in OURS["dependencies"]} == {
        "alembic",
        "flask",
        "jinja2",  # Flask's, as is werkzeug: named for their lower bounds
        "marshmallow",
        "msgspec",
        "sqlalchemy",
        "werkzeug",
    }


def test_the_door_asks_for_every_module_of_its_extra() -> None:
    """Each package that the extra `server` names has its module in the list that is looked through."""
    packages = {found.lower().replace("_", "-") for name in SERVER for found in packages_distributions()[name]}
    assert packages == {named(requirement) for requirement in OURS["optional-dependencies"]["server"]}


def test_importing_the_library_imports_no_extra(tmp_path: Path) -> None:
    """A process that embeds it pays for what it uses."""
    done = run(
        f"import sys, json; from saga_es import *; print(json.dumps(sorted(set({EXTRAS!r}) & set(sys.modules))))",
        tmp_path,
    )
    assert json.loads(done.stdout) == [], done.stderr


@pytest.mark.parametrize("command", ["['serve']", "['--help']", "['list', '--json']"])
def test_the_command_line_without_its_extra_says_how_to_get_it(command: str, tmp_path: Path) -> None:
    """One line with the cure, and the exit code of a configuration error; no traceback."""
    done = run(f"{WITHOUT}sys.argv[1:] = {command}\nfrom saga_es.cli import main\nmain()", tmp_path)
    (line,) = done.stderr.splitlines()
    assert line.startswith("saga-es: flask_smorest, flask_swagger_ui, rich, structlog, waitress are not installed")
    assert line.endswith("install saga-es[server] for the command line (pip install 'saga-es[server]')")
    assert (done.returncode, done.stdout) == (78, "")


@pytest.mark.parametrize(
    ("program", "purpose"),
    [
        ("import saga_es.api", "to serve"),
        (
            "from flask import Flask; from saga_es.flask import SagaES; SagaES(Flask('shop'))",
            "to serve the saga API, or pass url_prefix=None",
        ),
    ],
    ids=["api", "flask"],
)
def test_the_api_without_its_extra_says_how_to_get_it(program: str, purpose: str, tmp_path: Path) -> None:
    """The error is of ours, is an ImportError, and has the cure."""
    done = run(
        f"{WITHOUT}from saga_es.errors import NotInstalled\n"
        f"try:\n    {program}\nexcept ImportError as error:\n    print(type(error) is NotInstalled, error)",
        tmp_path,
    )
    assert done.stdout.startswith("True ")
    assert f"install saga-es[server] {purpose} (pip install 'saga-es[server]')" in done.stdout


def test_a_flask_application_runs_sagas_without_the_extra(tmp_path: Path) -> None:
    """Only its saga API and its commands need more."""
    program = """
from flask import Flask
from saga_es import Saga
from saga_es.flask import SagaES

order = Saga("order")


@order.step(compensation=None)
def payment(input):
    return {"paid": input["amount"]}


app = Flask("shop")
sagas = SagaES(app, sagas=[order], url_prefix=None, database_url="sqlite:///shop.db")
print(sagas.engine.start(order, {"amount": 20}).result(30).results)
"""
    done = run(WITHOUT + program, tmp_path)
    assert done.stdout.splitlines() == ["{'payment': {'paid': 20}}"], done.stderr
