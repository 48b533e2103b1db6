"""What docs/guide/testing.md and the README say about testing a saga is true: their tests run, and are green."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from saga_es.testing import Lab
from tests.docs.pages import DOCS, README, sections

PAGE = DOCS / "guide/testing.md"
FILES = {block.file: block.text for section in sections(PAGE) for block in section.blocks if block.file}


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest in a folder of its own, as a user has it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_the_tests_of_the_page_are_green(tmp_path: Path) -> None:
    """Each file as it is shown, in one folder."""
    assert {name for name in FILES if name.startswith("test_")} == {"test_shop.py", "test_till.py", "test_approval.py"}
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    done = run_tests(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_a_careless_step_turns_them_red(tmp_path: Path) -> None:
    """As the page says: a payment that does not look at its key is found by a lost reply."""
    careless = FILES["shop.py"].replace(
        'charged[key] = input["amount"]', 'charged[key + str(len(charged))] = input["amount"]'
    )
    assert careless != FILES["shop.py"]
    (tmp_path / "shop.py").write_text(careless)
    (tmp_path / "test_till.py").write_text(FILES["test_till.py"])
    done = run_tests(tmp_path)
    assert done.returncode == 1, done.stdout
    assert "['payment', 'payment', 'shipment']" in done.stdout


def test_the_five_lines_of_the_readme_are_green(tmp_path: Path) -> None:
    """With the saga of its first program."""
    first, *others = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (five,) = (program for program in others if program.startswith("def test_"))
    assert len(five.splitlines()) == 5
    (tmp_path / "test_order.py").write_text(first.partition("with open_engine")[0] + five)
    done = run_tests(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+)\(", PAGE.read_text(), flags=re.MULTILINE))
def test_what_the_page_names_is_there(name: str) -> None:
    """Each method in its table."""
    assert callable(getattr(Lab, name))
