"""A migration that contracts waits until no worker lives that needs what it takes away.

The migrations here are made up: one adds a column, and one of a later version, which says since when processes can do
without it, drops the column.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from saga_es.errors import NotMigrated, StillNeeded
from saga_es.store import registry, revision, workers
from saga_es.store.admin import contracting, migrate, revisions
from saga_es.store.database import Database
from saga_es.store.process import Process
from saga_es.store.revision import HEAD, current, number
from saga_es.store.tables import saga_workers
from tests.conftest import Store
from tests.contract.store.test_migrations import upgrade
from tests.support.next_version import MIGRATION, NEXT, REVISION
from tests.support.processes import ROOT

LAST = f"{int(NEXT) + 1:04}"
CONTRACTING = f"{LAST}_since_{NEXT}"
MADE_UP = f"""
from alembic import op

from saga_es.store.drivers.names import ours

contract = "versions since {NEXT} do not use the zone of a worker"
revision = "{CONTRACTING}"
down_revision = "{REVISION}"


def upgrade() -> None:
    op.drop_column(ours("saga_workers"), "zone")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of migrations, with a next one that adds a column; this process is of that version."""
    made = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", made, ignore=shutil.ignore_patterns("__pycache__"))
    (made / "versions" / f"{NEXT}_zone.py").write_text(MIGRATION)
    monkeypatch.setattr(revisions, "_location", lambda: made)
    is_of_version(monkeypatch, REVISION)
    return made


def is_of_version(monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    for module in (revision, migrate, contracting, workers):
        monkeypatch.setattr(module, "HEAD", head)


def contracts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is of the version after that, whose migration drops the column."""
    (folder / "versions" / f"{LAST}_no_zone.py").write_text(MADE_UP)
    is_of_version(monkeypatch, CONTRACTING)


def zone_is_there(database: Database) -> bool:
    with database.reading() as connection:
        return "zone" in registry.columns_in(connection, "saga_workers")


def works(store: Store, worker_id: str, known: str | None) -> None:
    """A worker beats in this process that knows the migrations up to one."""
    store.workers.beat(worker_id, Process.this())
    with store.database.writing() as connection:
        its = saga_workers.c.worker_id == worker_id
        connection.execute(sa.update(saga_workers).where(its).values(migration=known))


def test_a_migration_that_contracts_refuses_while_workers_live_that_need_what_it_drops(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which, what they know, and what to do; when they are gone, it migrates beside those that know enough."""
    works(store, "w-1", number(HEAD))
    assert upgrade(store.database) == []  # what only adds refuses nobody
    works(store, "w-2", NEXT)
    contracts(folder, monkeypatch)
    refused = f"{REVISION}, and the migration to {CONTRACTING} .* versions before {NEXT} need; nothing was changed.*"
    with pytest.raises(StillNeeded, match=f"{refused}: 1: w-1 .knows {number(HEAD)}.. Replace them with") as found:
        upgrade(store.database)
    assert isinstance(found.value, NotMigrated)  # the exit code of those
    assert zone_is_there(store.database)
    with store.database.reading() as connection:
        assert current(connection) == REVISION
    store.workers.leave("w-1")
    upgrade(store.database)
    assert not zone_is_there(store.database)


def test_a_worker_of_the_first_version_says_nothing_of_what_it_knows_and_is_not_shut_out_either(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expansion and contraction in one go would be too much for it: neither happens."""
    works(store, "w-old", None)
    contracts(folder, monkeypatch)
    with pytest.raises(StillNeeded, match=r"w-old \(knows 0003\)"):
        upgrade(store.database)
    with store.database.reading() as connection:
        assert current(connection) == HEAD


def test_a_worker_that_is_gone_holds_no_migration_up(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row may stay until somebody takes over its sagas."""
    works(store, "w-1", number(HEAD))
    works(store, "w-2", number(HEAD))
    with store.database.writing() as connection:
        of = sa.update(saga_workers).where
        connection.execute(of(saga_workers.c.worker_id == "w-1").values(pid_started="long ago"))
        connection.execute(of(saga_workers.c.worker_id == "w-2").values(heartbeat_at=1.0))
    contracts(folder, monkeypatch)
    upgrade(store.database)
    assert not zone_is_there(store.database)
