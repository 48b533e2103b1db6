"""`saga-es publishers`: who is told about events, how far, and again."""

from __future__ import annotations

import json

from saga_es.store.database import Database
from saga_es.store.publishers import Publishers
from tests.e2e.conftest import run_cli


def test_publishers_are_shown_moved_and_forgotten(database_url: str) -> None:
    """An unknown name is told, with those there are."""
    options = ("--database-url", database_url)
    assert run_cli("db", "upgrade", *options).returncode == 0
    database = Database(database_url)
    rows = Publishers(database)
    assert rows.hold("webhook x.example-1", "process-1") == 0
    rows.fail("webhook x.example-1", "process-1", "HTTP 503")
    shown = json.loads(run_cli("publishers", "--json", *options).stdout)["publishers"]
    assert [(row["name"], row["position"], row["lag"], row["error"]) for row in shown] == [
        ("webhook x.example-1", 0, 0, "HTTP 503")
    ]
    assert "HTTP 503" in run_cli("publishers", *options).stdout
    unknown = run_cli("publishers", "webhook y", "--after", "3", *options)
    assert (unknown.returncode, "there are: 'webhook x.example-1'" in unknown.stderr) == (3, True)
    assert run_cli("publishers", "--forget", *options).returncode == 2
    assert run_cli("publishers", "webhook x.example-1", "--after", "3", *options).returncode == 0
    assert rows.all()[0].position == 3
    assert run_cli("publishers", "webhook x.example-1", "--forget", *options).returncode == 0
    assert rows.all() == []
    database.close()
