"""`saga-es check` as a gate: its options, its exit codes, and the recipe for CI that the page on deploying has."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saga_es import App, Saga
from saga_es.core.state import SagaStatus
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.docs.pages import DOCS
from tests.e2e.conftest import assert_refused, run_cli
from tests.e2e.test_cli import data_of

VERSION_1 = """
from saga_es import App, Saga

order = Saga("order")


@order.step(compensation=None, when=lambda input: {condition})
def audit():
    return "audited"


order.wait_for("go", timeout_s=None)
{more}
app = App(name="shop", version="1", sagas=[order])
"""
SHIP = """
@order.step(compensation=None)
def ship():
    pass
"""


def an_order() -> Saga:
    order = Saga("order")
    order.step(compensation=None, when=lambda input: input["n"] > 1)(audit)  # noqa: A006 (the name)
    order.wait_for("go", timeout_s=None)
    return order


def audit() -> str:
    return "audited"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with one saga that is COMPLETED and one that waits."""
    url = f"sqlite:///{tmp_path / 'saga.sqlite'}"
    node = Node(Settings.load({"database_url": url}, environ={}), App(name="shop", version="1", sagas=[an_order()]))
    node.open()
    try:
        for n in (1, 2):
            node.engine.start("order", {"n": n}, saga_id=f"order-{n}")
        node.engine.signal("order-1", "go")
        assert node.engine.follow("order-1").result(20).status is SagaStatus.COMPLETED
    finally:
        node.close()
    return url


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of the code that runs now, and of the new code, which ships as well."""
    folders = tmp_path / "version-1", tmp_path / "version-2"
    for folder, more in zip(folders, ("", SHIP), strict=True):
        _write(folder, more=more)
    return folders


def _write(folder: Path, *, condition: str = "input['n'] > 1", more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text("")
    (folder / "shop.py").write_text(VERSION_1.format(condition=condition, more=more))


def test_the_recipe_for_ci_stops_what_a_rollback_would_strand(
    url: str, versions: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its commands, as the page has them: export, the code that runs, the gate."""
    old, new = versions
    export, write, gate = recipe()
    options = ("--database-url", url, "--app", "shop")
    assert export[-2] == ">"
    (tmp_path / export[-1]).write_text(data_of(run_cli(*export[:-2], *options, cwd=old)))
    assert run_cli(*write, "--app", "shop", cwd=old).returncode == 0
    (old / write[-1]).rename(tmp_path / write[-1])
    for file in (export[-1], write[-1]):
        (new / file).symlink_to(tmp_path / file)
    nowhere = ("--database-url", f"sqlite:///{tmp_path / 'no such database'}", "--app", "shop")
    done = run_cli(*gate, *nowhere, cwd=new)
    assert done.returncode == 7
    assert done.stdout.splitlines()[1:] == [
        "       1  go on",
        "2 sagas rehearsed: every condition decides as before",
        "after a rollback, sagas of 'order' that this version starts would wait:",
        "          the code of step 'ship' is gone: saga 'order' has no action for it",
    ]
    assert run_cli(*gate[:-1], *nowhere, cwd=new).returncode == 0, (
        "a rollback that strands counts where it is asked for"
    )
    assert not (tmp_path / "no such database").exists()


def recipe() -> Iterator[list[str]]:
    """The commands of the recipe for CI, without `saga-es`."""
    section = (DOCS / "guide/deploying.md").read_text().partition("### In CI")[2].partition("\n#")[0]
    for line in section.splitlines():
        if line.startswith("$ saga-es "):
            yield shlex.split(line.removeprefix("$ saga-es "), comments=True)


def test_a_condition_that_decides_otherwise_stops_the_deployment(url: str, tmp_path: Path) -> None:
    """The saga and the step are told, on the terminal and as JSON; a sample of none tells nothing."""
    _write(tmp_path / "changed", condition="input['n'] > 0")
    options = ("--database-url", url, "--app", "shop")
    done = run_cli("check", *options, cwd=tmp_path / "changed")
    assert done.returncode == 7
    assert "the condition of step 'audit' holds now, and the step was skipped" in done.stdout
    found: dict[str, Any] = json.loads(run_cli("check", *options, "--json", "--all", cwd=tmp_path / "changed").stdout)
    assert found["goes_on"] is True
    (difference,) = found["rehearsed"]["differences"]
    assert (difference["step"], difference["sagas"], difference["saga_ids"]) == ("audit", 1, ["order-1"])
    assert run_cli("check", *options, "--sample", "0", cwd=tmp_path / "changed").returncode == 0


def test_what_cannot_be_checked_is_told_in_one_line(url: str, versions: tuple[Path, Path], tmp_path: Path) -> None:
    """A file that is no code, no bundle; a rollback to nowhere; an export of one saga and of all."""
    old, _ = versions
    (tmp_path / "no code").write_text("{")
    options = ("--database-url", url, "--app", "shop")
    for arguments, code, words in (
        (("check", "--with-code", str(tmp_path / "no code")), 2, "was not written by `saga-es check --write-code`"),
        (("check", "--rollback"), 2, "no worker lives, and no --with-code says what a rollback would go back to"),
        (("check", "--bundle", str(tmp_path / "no code")), 7, "no code"),
        (("export", "order-1", "--for-check"), 2, "one of the two"),
        (("export",), 2, "one of the two"),
    ):
        done = run_cli(*arguments, *options, cwd=old)
        assert_refused(done, code)
        assert words in done.stderr
