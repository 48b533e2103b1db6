"""`saga-es check`, and the filters of `saga-es list`: what they print, and how they exit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from saga_es import App, Saga
from saga_es.commands import Pause
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.e2e.conftest import assert_refused, run_cli
from tests.e2e.test_cli import data_of

CODE = """
from saga_es import App, Saga

order = Saga("order")
order.wait_for("approval", timeout_s=None)
{steps}
app = App(name="shop", version="1", sagas=[{sagas}])
"""
SHIP = """
@order.step(compensation=None)
def ship():
    pass
"""


def an_order() -> Saga:
    order = Saga("order")
    order.wait_for("approval", timeout_s=None)
    order.step(compensation=None)(ship)
    return order


def ship() -> None:
    """What comes after the approval."""


@dataclass(frozen=True)
class Shop:
    """A database with two sagas that wait for an approval, and a folder for the code of an application."""

    url: str
    folder: Path
    waiting: Sequence[str]

    def deploy(self, *, steps: str = SHIP, sagas: str = "order") -> None:
        """Write the code."""
        (self.folder / "shop.py").write_text(CODE.format(steps=steps, sagas=sagas))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command with that code on that database."""
        return run_cli(*arguments, "--database-url", self.url, "--app", "shop", cwd=self.folder)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The sagas were started by a worker that is gone."""
    url = f"sqlite:///{tmp_path / 'saga.sqlite'}"
    (tmp_path / "pyproject.toml").write_text("")
    node = Node(Settings.load({"database_url": url}, environ={}), App(name="shop", version="1", sagas=[an_order()]))
    node.open()
    try:
        first = node.engine.start("order", tags={"customer": "7"}).saga_id
        second = node.engine.start("order", tags={"customer": "8"}).saga_id
        node.engine.submit(second, Pause("ada", "lunch"))
    finally:
        node.close()
    return Shop(url, tmp_path, (first, second))


# ── check ────────────────────────────────────────────────────────────────────────────────────────────────


REHEARSED = "2 sagas rehearsed: every condition decides as before"


def test_check_is_content_when_all_go_on(shop: Shop) -> None:
    """Exit 0, and a line for the version that they go by."""
    shop.deploy()
    heading, group, rehearsed = data_of(shop.run("check")).splitlines()
    assert heading.split()[0] == "order"
    assert heading.endswith("the present version, 2 unfinished")
    assert group.split() == ["2", "go", "on"]
    assert rehearsed == REHEARSED


def test_check_tells_which_miss_code_and_why(shop: Shop) -> None:
    """Exit 7, with the code that is missing, and their ids."""
    shop.deploy(steps="")
    done = shop.run("check")
    assert (done.returncode, done.stderr) == (7, "")
    heading, count, why, *ids, rehearsed = (line.strip() for line in done.stdout.splitlines())
    assert heading.endswith("another version, 2 unfinished")
    assert count.split(maxsplit=1) == ["2", "need code that is nowhere, and would wait for a worker that has it"]
    assert why == "the code of step 'ship' is gone: saga 'order' has no action for it"
    assert sorted(ids) == sorted(shop.waiting)
    assert rehearsed == REHEARSED


def test_check_tells_which_wait_for_a_version_that_has_their_code(shop: Shop) -> None:
    """Exit 7 all the same: they wait as long as that version is away."""
    shop.deploy()
    assert shop.run("check", "--write-code", "old.json").returncode == 0
    shop.deploy(steps="")
    done = shop.run("check", "--with-code", "old.json")
    assert done.returncode == 7
    assert "       2  wait for another version, which has the code" in done.stdout.splitlines()


def test_check_tells_the_same_to_machines(shop: Shop) -> None:
    """As JSON, with the same exit code."""
    shop.deploy(steps="")
    done = shop.run("check", "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, told["goes_on"]) == (7, False)
    (version,) = told["versions"]
    assert (version["saga"], version["is_present"], version["sagas"]) == ("order", False, 2)
    (group,) = version["groups"]
    assert (group["verdict"], group["sagas"]) == ("stranded", 2)
    assert group["missing"] == ["the code of step 'ship' is gone: saga 'order' has no action for it"]
    assert sorted(group["saga_ids"]) == sorted(shop.waiting)


def test_check_misses_a_definition_that_is_gone(shop: Shop) -> None:
    """Its sagas would wait for ever."""
    shop.deploy(sagas="")
    done = shop.run("check")
    assert done.returncode == 7
    assert "would wait for a worker that has it" in done.stdout
    assert "no saga 'order' is defined here" in done.stdout


def test_check_has_nothing_to_say_of_an_empty_log(shop: Shop) -> None:
    """No sagas, no trouble."""
    shop.deploy(steps="")
    url = f"sqlite:///{shop.folder / 'empty.sqlite'}"
    run_cli("db", "upgrade", "--database-url", url, "--app", "shop", cwd=shop.folder)
    done = run_cli("check", "--database-url", url, "--app", "shop", cwd=shop.folder)
    assert data_of(done) == "No unfinished sagas.\n"


def test_check_needs_a_database_and_an_application(shop: Shop) -> None:
    """8 where the one is not migrated, 2 where the other is not there."""
    shop.deploy()
    away = f"sqlite:///{shop.folder / 'none.sqlite'}"
    assert_refused(run_cli("check", "--database-url", away, "--app", "shop", cwd=shop.folder), 8)
    assert_refused(run_cli("check", "--database-url", shop.url, "--app", "nowhere", cwd=shop.folder), 2)


# ── list ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_list_filters_like_the_api(shop: Shop) -> None:
    """By tags, ages, pauses and all of them."""
    shop.deploy()
    first, second = shop.waiting
    for arguments, found in (
        (("--tag", "customer:7"), [first]),
        (("--tag", "customer:7", "--tag", "customer:8"), []),
        (("--paused",), [second]),
        (("--not-paused", "--newer-than", "2h", "--status", "IN_PROGRESS"), [first]),
        (("--older-than", "3d"), []),
        (("--error", "%"), []),
        (("--parent", first), []),
    ):
        told = json.loads(data_of(shop.run("list", "--json", *arguments)))
        assert [saga["transaction_id"] for saga in told["transactions"]] == found, arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tag", "customer"),
        ("--tag", ":7"),
        ("--older-than", "soon"),
        ("--older-than", "-1"),
        ("--newer-than", "1y"),
        ("--newer-than", "nan"),
        ("--status", "DONE"),
    ],
)
def test_a_filter_that_is_none_is_a_usage_error(shop: Shop, arguments: tuple[str, str]) -> None:
    """It names the flag."""
    shop.deploy()
    done = shop.run("list", *arguments)
    assert_refused(done, 2)
    assert arguments[0] in done.stderr


RETIRED = """
with order.retired():

    @order.step(compensation=None)
    def ship():
        pass

    @order.step(compensation=None)
    def wrap():
        pass
"""


def test_check_says_how_many_sagas_need_retired_code(shop: Shop) -> None:
    """And that it can be deleted once there are none."""
    shop.deploy(steps=RETIRED)
    lines = data_of(shop.run("check")).splitlines()
    assert lines[-3:] == [
        "retired step 'ship' of 'order': 2 sagas need it",
        "retired step 'wrap' of 'order': no unfinished saga needs it: delete it",
        REHEARSED,
    ]


def test_check_names_a_parameter_that_a_plan_does_not_know(shop: Shop) -> None:
    """The step, the parameter and the plan; a parameter with a default is none of that."""
    shop.deploy(steps=ASKING.format(default=""))
    done = shop.run("check")
    assert done.returncode == 7
    why = f"step 'ship' asks for 'price', which {an_order().plan_id} does not know at that point"
    assert why in done.stdout
    shop.deploy(steps=ASKING.format(default="=None"))
    assert shop.run("check").returncode == 0


ASKING = """
@order.step(compensation=None)
def price():
    return 7

@order.step(compensation=None)
def ship(price{default}):
    pass
"""


# ── migrate ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_migration_of_all_sagas_of_a_plan_says_which_are_refused_and_why(shop: Shop) -> None:
    """Exit 1; the preview as JSON counts the same, and nothing is recorded."""
    shop.deploy()
    code = shop.folder / "shop.py"
    code.write_text(code.read_text().replace('order.wait_for("approval", timeout_s=None)', ""))
    done = shop.run("migrate", "--all-of", "plan-", "--reason", "nobody approves any more")
    assert done.returncode == 1
    migrated, refused = done.stdout.splitlines()
    assert migrated.endswith(": 0 sagas were migrated")
    assert refused.startswith("2 cannot: ")
    assert "'approval'" in refused
    assert all(saga_id in refused for saga_id in shop.waiting)
    preview = shop.run("migrate", "--all-of", "plan-", "--preview", "--json")
    told: dict[str, Any] = json.loads(preview.stdout)
    (group,) = told["refused"]
    assert (preview.returncode, told["migrated"], sorted(group["saga_ids"])) == (1, 0, sorted(shop.waiting))
