"""What the README shows is true, and what it sends readers to: the settings, the commands, the defaults, the map."""

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
from tests.docs.pages import DOCS, README

PACKAGE = README.parent / "saga_es"
MAP = (DOCS / "architecture.md").read_text().partition("```")[2].partition("```")[0]
PROGRAMS = re.findall(r"```python\n(?!def test_)(.*?)```", README.read_text(), flags=re.DOTALL)
MOST_LINES = 200


@pytest.mark.parametrize("program", PROGRAMS, ids=["functions", "requests"])
def test_a_program_of_the_readme_runs(program: str, tmp_path: Path) -> None:
    """Each program runs as it stands, in an empty folder."""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)


def test_the_japanese_readme_shows_the_same_saga() -> None:
    """Its program is that of the English one; only what the last comment says is shorter."""
    (program,) = re.findall(r"```python\n(.*?)```", (DOCS / "README.ja.md").read_text(), flags=re.DOTALL)
    assert program == PROGRAMS[0].replace("COMPENSATED: the payment is refunded", "COMPENSATED")


def test_the_saga_in_15_lines_completes_and_compensates(tmp_path: Path) -> None:
    """The first program prints what its comments say."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[0]], cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True
    )
    first, second, third = done.stdout.splitlines()
    assert first == "COMPLETED"
    assert second.startswith("refunding what was charged under ")
    assert third == "COMPENSATED"


def test_the_readme_is_short() -> None:
    """It has one screen of what this is, one of how it is used, and sends to the pages for the rest."""
    assert len(README.read_text().splitlines()) < MOST_LINES


def test_the_defaults_of_execute_are_those_of_its_schema() -> None:
    """Each default that the page of the demonstration names is the one that is recorded."""
    loaded = CreateEventSchema().load({"name": "x"})
    section = (DOCS / "demo.md").read_text().partition("## Defaults of execute")[2].partition("\n## ")[0]
    table = dict(re.findall(r"\| `(\w+)` \| ([^|]+?) (?=\|)", section))
    assert set(table) == set(loaded) - {"name"}
    for name, shown in table.items():
        value = loaded[name]
        expected = "none" if value in (None, []) else str(value)
        assert shown.removesuffix(" (minutes)").strip("`") == expected, name


def test_the_command_line_names_every_command() -> None:
    """What `saga-es --help` lists stands on the page of the command line, too."""
    table = (DOCS / "command-line.md").read_text().partition("## Output")[0]
    named = set(re.findall(r"`([a-z-]+)[^`]*`", table))
    assert set(COMMANDS) <= named | {"db"}


def test_the_settings_are_those_of_the_code() -> None:
    """The table has every setting and no other, each with the default that holds."""
    rows = re.findall(
        r"^\| [^|]* \| `SAGA_ES_([A-Z_]+)` \| ([^|]+) \|", (DOCS / "settings.md").read_text(), re.MULTILINE
    )
    defaults = {name.lower(): default.strip("`") for name, default in rows}
    settings = Settings()
    assert set(defaults) == set(Settings.__struct_fields__) - {"credentials", "limits", "participants"}
    for name, default in defaults.items():
        value = getattr(settings, name)
        assert value is None or default == str(value).removesuffix(".0"), name


def test_an_action_is_tried_four_times() -> None:
    """As the page on failing says."""
    assert RetryPolicy().attempts == 4
    assert "for actions the default is four" in " ".join((DOCS / "saga-model" / "failing.md").read_text().split())


def test_the_map_names_every_folder_and_public_module() -> None:
    """It draws each room of the package, and none that is not there."""
    folders = {f"{path.parent.name}/" for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE}
    modules = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    first_column = [line.strip().split("  ")[0] for line in MAP.splitlines()]
    drawn = {name for names in first_column for name in names.split()}
    assert drawn - {"saga_es/", "services/", "benchmarks/", "migrations/"} == folders | modules
