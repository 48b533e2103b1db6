"""Kill -9 of real processes again and again: nothing acknowledged is lost, nothing is done twice, all sagas end.

A few rounds; thousands of them are in `make torture`.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.torture.kills import Campaign
from tests.torture.migrating import killed_migrations, started_cold
from tests.torture.served import ServedCampaign


@pytest.mark.parametrize(
    ("database_url", "workers"), [("sqlite", 1), ("postgresql", 2), ("mariadb", 2)], indirect=["database_url"]
)
def test_workers_killed_again_and_again_lose_and_double_nothing(
    database_url: str, workers: int, tmp_path: Path
) -> None:
    """Each call's intent came first, its attempts had one key, and each saga ended with all effects or none."""
    found = Campaign(database_url, tmp_path, workers, seed=1).run(kills=8)
    assert found.faults == []
    assert found.interrupted["an action"] > 0
    assert found.ends.total() > 5


def test_a_server_killed_again_and_again_answers_every_key_in_the_end(sqlite_url: str) -> None:
    """Clients repeat their requests until they are answered: each key is one saga, with one answer, and its records."""
    found = ServedCampaign(sqlite_url, seed=1).run(kills=4)
    assert found.faults == []
    assert found.ends.total() > 5


def test_twenty_workers_that_start_cold_at_once_all_come_up(database_url: str) -> None:
    """One of them migrates, the others wait for it, and each plan is recorded once."""
    assert started_cold(database_url, 20) == []


def test_the_migration_of_an_empty_database_is_finished_after_any_kill(database_url: str) -> None:
    """Whatever the killed processes had made already: the next one comes to the end."""
    assert killed_migrations(database_url, Random(1), is_old=False) == []


def test_the_migration_of_an_older_database_is_finished_after_any_kill(database_url: str) -> None:
    """The log has lost nothing, and the views are what it tells."""
    assert killed_migrations(database_url, Random(1), is_old=True) == []
