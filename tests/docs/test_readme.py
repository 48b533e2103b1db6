"""What the README shows is true, and the map in docs/architecture.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from saga_es.cli import COMMANDS
from saga_es.core.plan import RetryPolicy
from saga_es.node.settings import Settings
from services.create_event import CreateEventSchema

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text()
MAP = (PROJECT / "docs" / "architecture.md").read_text().partition("```")[2].partition("```")[0]
PROGRAMS = re.findall(r"```python\n(?!def test_)(.*?)```", README, flags=re.DOTALL)


def _section(start: str) -> str:
    return README.partition(start)[2].partition("\n```")[0]


@pytest.mark.parametrize("program", PROGRAMS, ids=["functions", "requests"])
def test_a_program_of_the_readme_runs(program: str, tmp_path: Path) -> None:
    """Each program runs as it stands, in an empty folder."""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)


def test_the_saga_in_15_lines_completes_and_compensates(tmp_path: Path) -> None:
    """The first program prints what its comments say."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[0]], cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True
    )
    first, second, third = done.stdout.splitlines()
    assert first == "COMPLETED"
    assert second.startswith("refunding what was charged under ")
    assert third == "COMPENSATED"


def test_the_defaults_of_execute_are_those_of_its_schema() -> None:
    """Each default the README names is the one that is recorded."""
    loaded = CreateEventSchema().load({"name": "x"})
    table = dict(re.findall(r"\| `(\w+)` \| ([^|]+?) (?=\|)", _section("What the body of `execute`")))
    assert set(table) == set(loaded) - {"name"}
    for name, shown in table.items():
        value = loaded[name]
        expected = "none" if value in (None, []) else str(value)
        assert shown.removesuffix(" (minutes)").strip("`") == expected, name


def test_the_command_line_names_every_command() -> None:
    """What `saga-es --help` lists stands in the README, too."""
    section = README.partition("## Command line")[2].partition("Exit codes")[0]
    named = set(re.findall(r"`([a-z-]+)[^`]*`", section))
    assert set(COMMANDS) <= named | {"db"}


def test_the_defaults_of_settings_are_those_of_the_code() -> None:
    """Each default in the table of settings is the one that holds."""
    settings = Settings()
    for name, value in re.findall(r"`SAGA_ES_([A-Z_]+)` \| (\d+)", README):
        assert getattr(settings, name.lower()) == float(value), name
    assert settings.database_url in README
    assert RetryPolicy().attempts == 4


def test_the_map_names_every_folder_and_public_module() -> None:
    """It draws each room of the package, and none that is not there."""
    package = PROJECT / "saga_es"
    folders = {f"{path.parent.name}/" for path in package.rglob("__init__.py") if path.parent != package}
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    first_column = [line.strip().split("  ")[0] for line in MAP.splitlines()]
    drawn = {name for names in first_column for name in names.split()}
    assert drawn - {"saga_es/", "services/", "benchmarks/", "migrations/"} == folders | modules
