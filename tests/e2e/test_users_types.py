"""What users write passes mypy --strict and pyright: what `saga-es init` writes, and an application with types."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.conftest import environment
from tests.support import typed_shop
from tests.support.processes import ROOT

TIMEOUT_S = 240.0
CHECKERS = {
    "mypy": ["mypy", "--strict", "--no-error-summary", "."],
    "pyright": ["basedpyright", "--level", "error", "--pythonpath", sys.executable],
}
CLEAN = {"mypy": "", "pyright": "0 errors, 0 warnings, 0 notes\n"}
WRONG = """
def wrong(handle: Handle) -> int:
    Saga("other", deadline="soon")
    open_engine("sqlite://", lease_s="long")
    Every("0 3 * * *", order, missed="none")
    return handle.result().of(payment)
"""
"""A mistake in each of four lines, which a checker must see."""


def checked(checker: str, folder: Path) -> tuple[int, str]:
    """Read the folder as a checker does in a project of a user's; its exit code, and what it said."""
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT)], "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker]],
        cwd=folder,
        env=environment(MYPYPATH=str(ROOT), PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A folder with both applications."""
    made = [sys.executable, "-m", "saga_es", "init", "shop"]
    subprocess.run(made, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), check=True, timeout=TIMEOUT_S)
    (tmp_path / "shop" / "typed_shop.py").write_text(Path(typed_shop.__file__).read_text())
    return tmp_path / "shop"


@pytest.mark.parametrize("checker", CHECKERS)
def test_what_users_write_is_typed(checker: str, users: Path) -> None:
    """Nothing is found in what is right; each mistake is, in its line."""
    assert checked(checker, users) == (0, CLEAN[checker])
    typed = users / "typed_shop.py"
    first = len(typed.read_text().splitlines()) + 3
    typed.write_text(typed.read_text() + WRONG)
    code, said = checked(checker, users)
    assert code == 1
    lines = [line for line in range(first, first + 4) if f"typed_shop.py:{line}:" in said]
    assert lines == list(range(first, first + 4)), said


def test_the_typed_application_runs(tmp_path: Path) -> None:
    """A step gets and returns its own types, and its result is read as such."""
    url = f"sqlite:///{tmp_path}/shop.db"
    paid = typed_shop.run(url)
    assert (type(paid), paid.amount) == (typed_shop.Payment, Decimal(20))
    assert asyncio.run(typed_shop.run_awaited(f"sqlite:///{tmp_path}/other.db"))["to"] == "ann"
