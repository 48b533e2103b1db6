"""`saga-es schedule`: what it refuses, and by which exit code; the page on schedules shows what it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from saga_es.cli import main

WHY = ("--reason", "stocktaking")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A migrated database."""
    url = f"sqlite:///{tmp_path}/saga.db"
    assert run(url, "db", "upgrade").exit_code == 0
    return url


def run(url: str, *words: str) -> Result:
    """Run a command of the application that `tests/support/typed_shop.py` has."""
    return CliRunner().invoke(main, ["--database-url", url, "--app", "tests.support.typed_shop", *words])


def test_a_schedule_that_is_not_there_is_not_found(url: str) -> None:
    """The message names those that are there; nothing is recorded."""
    for command in ("pause", "resume", "trigger"):
        refused = run(url, "schedule", command, "nightly", *WHY)
        assert (refused.exit_code, "there is no schedule 'nightly'; there are: 'order'" in refused.stderr) == (3, True)


def test_a_schedule_is_paused_once_and_resumed_once(url: str) -> None:
    """The second time is refused; the list says where it stands."""
    assert run(url, "schedule", "resume", "order", *WHY).exit_code == 1
    assert run(url, "schedule", "pause", "order", *WHY).exit_code == 0
    again = run(url, "schedule", "pause", "order", *WHY)
    assert (again.exit_code, "is paused already" in again.stderr) == (1, True)
    (row,) = json.loads(run(url, "schedule", "list", "--json").stdout)["schedules"]
    assert (row["paused"], row["next_at"], row["cron"], row["tz"]) == (True, None, "0 3 * * *", "Asia/Tokyo")
    assert run(url, "schedule", "resume", "order", *WHY).exit_code == 0
