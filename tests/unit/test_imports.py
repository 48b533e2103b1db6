"""What a process imports before it does anything: a command pays for what it needs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

import saga_es
from saga_es.cli import COMMANDS

RUN = """
import json, sys
from saga_es.cli import main
try:
    main(json.loads(sys.argv.pop()), prog_name="saga-es")
finally:
    with open("imported", "w") as file:
        json.dump(sorted(sys.modules), file)
"""

HEAVY = {"alembic", "asyncio", "flask", "marshmallow", "msgspec", "rich", "sqlalchemy", "structlog"}
"""What the help of the commands has no use for."""

FOR_OTHERS = {"alembic", "flask", "opentelemetry", "prometheus_client", "structlog", "psycopg", "pymysql"}
"""What a command that reads a few rows of SQLite has no use for."""


def imported(folder: Path, *arguments: str) -> set[str]:
    """The packages that a command has imported when it ends."""
    command = [sys.executable, "-c", RUN, json.dumps(arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads((folder / "imported").read_text()))


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_the_help_imports_neither_the_engine_nor_a_library_of_its(arguments: list[str], tmp_path: Path) -> None:
    """It says what there is from a table: the modules of the package that it imports can be counted on two hands."""
    found = imported(tmp_path, *arguments)
    assert not packages(found) & HEAVY
    assert len([name for name in found if name.startswith("saga_es")]) <= 10


def test_a_list_imports_what_reading_needs(tmp_path: Path) -> None:
    """No server, no migrations, no metrics, no renderer of log lines, no driver of another database."""
    with saga_es.open_engine(f"sqlite:///{tmp_path}/shop.db"):
        pass
    found = imported(tmp_path, "list", "--database-url", f"sqlite:///{tmp_path}/shop.db")
    assert not packages(found) & FOR_OTHERS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_all_commands_says_of_each_what_its_own_help_says(name: str) -> None:
    """The table from which it is printed has the first line of the command."""
    (module, _, attribute), line = COMMANDS[name][0].partition(":"), COMMANDS[name][1]
    command: click.Command = getattr(import_module(f"saga_es.cli.{module}"), attribute)
    assert line == (command.short_help or command.get_short_help_str(limit=200))


def test_every_public_name_is_there_when_it_is_used() -> None:
    """Names are imported at their first use; what is no name is refused as by any module."""
    for name in saga_es.__all__:
        assert getattr(saga_es, name).__module__.startswith("saga_es"), name
    assert set(saga_es.__all__) <= set(dir(saga_es))
    with pytest.raises(AttributeError, match="no attribute 'Sagga'"):
        saga_es.Sagga  # type: ignore[attr-defined]  # noqa: B018
