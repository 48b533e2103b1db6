"""Two versions of saga_es on one database: what the newer one finds of the older, and the older of the newer."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.errors import NotMigrated
from saga_es.store import registry
from saga_es.store.admin import migrate
from saga_es.store.admin.ownership import VIEWS_0_1_0
from saga_es.store.admin.versions import versions
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Written
from saga_es.store.process import Process
from saga_es.store.registry import Kind
from saga_es.store.revision import HEAD, current, number
from saga_es.store.tables import VERSION_TABLE, saga_events, saga_workers
from saga_es.store.views import mixed
from saga_es.store.views.repairing import Repair
from saga_es.store.views.saga_view import sagas
from tests.conftest import AT, Store
from tests.contract.store.test_migrations import replaced, rows, upgrade
from tests.e2e.conftest import run_cli

NEXT = f"{int(number(HEAD)) + 1:04}"
COMPATIBLE, STRANGE = f"{NEXT}_since_{number(HEAD)}", NEXT


def started(saga_id: str) -> Draft:
    return Draft(saga_id, SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, "w-1", starts_at=AT, deadline_at=AT),), AT)


def migrated_by_a_newer_version(database: Database, revision: str) -> None:
    """What the next version may do: a column more in the log, the workers and a view; and its migration."""
    with database.writing() as connection:
        for table in (saga_events, saga_workers, sagas):
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN zone VARCHAR(9)")
        registry.record(connection, "sagas", {*registry.columns_of(sagas), "zone"}, Kind.VIEW)
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")


def an_older_worker(store: Store) -> None:
    """Its row does not say which migration it knows."""
    store.workers.beat("w-old", Process.this())
    with store.database.writing() as connection:
        connection.execute(sa.update(saga_workers).values(migration=None))


def written_by_it(database: Database, saga_id: str) -> dict[str, Any]:
    """What a process writes that does not know the newer columns; the row as it was."""
    with database.writing() as connection:
        its = sagas.c.saga_id == saga_id
        (before,) = connection.execute(sa.select(sagas).where(its)).mappings()
        connection.execute(sa.update(sagas).where(its).values(wakes_at=None, deadline_at=None))
    return dict(before)


def is_marked(store: Store) -> bool:
    with store.database.reading() as connection:
        return [view.name for view in mixed.marked(connection, store.views)] == ["sagas"]


# ── A newer version was here ─────────────────────────────────────────────────────────────────────────────


def test_a_process_works_on_a_newer_database_if_the_migration_names_it(store: Store) -> None:
    """It makes nothing anew, and writes the columns that it knows."""
    migrated_by_a_newer_version(store.database, COMPATIBLE)
    assert upgrade(store.database) == []
    migrate.check(store.database)
    store.workers.beat("w-1", Process.this())
    assert store.write(started("s-1")) == [Written()]
    with store.database.reading() as connection:
        assert connection.execute(sa.text("SELECT saga_id, zone FROM sagas")).all() == [("s-1", None)]
        assert current(connection) == COMPATIBLE
    assert store.workers.heartbeats().keys() == {"w-1"}


def test_a_view_of_a_newer_version_is_marked_and_left_to_that_version(store: Store) -> None:
    """Also when it is behind: two versions would take turns at making it anew."""
    migrated_by_a_newer_version(store.database, COMPATIBLE)
    upgrade(store.database)
    assert is_marked(store)
    assert Repair(store.database, store.log, store.views).step() == []
    assert is_marked(store)
    with store.database.reading() as connection:
        assert "zone" in registry.columns_in(connection, "sagas")


def test_a_replay_leaves_a_view_of_a_newer_version_alone(store: Store, database_url: str) -> None:
    """It says with which version to repeat it."""
    migrated_by_a_newer_version(store.database, COMPATIBLE)
    done = run_cli("replay", "--database-url", database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a newer version has made sagas, with more columns: replay with that version" in " ".join(
        done.stderr.split()
    )
    with store.database.reading() as connection:
        assert "zone" in registry.columns_in(connection, "sagas")


def test_a_process_refuses_to_work_on_a_newer_database_that_is_not_for_it(store: Store) -> None:
    """It says what to do, and changes nothing."""
    migrated_by_a_newer_version(store.database, STRANGE)
    with pytest.raises(NotMigrated, match=f"at migration {NEXT}, .* needs {HEAD}; upgrade saga_es here"):
        upgrade(store.database)
    with pytest.raises(NotMigrated, match="upgrade saga_es here"):
        migrate.check(store.database)
    assert not is_marked(store)


# ── An older version is at work ──────────────────────────────────────────────────────────────────────────


def test_a_worker_says_up_to_which_migration_it_knows_the_tables(store: Store) -> None:
    """Its row does; one that does not say it is of an earlier version."""
    store.workers.beat("w-1", Process.this())
    with store.database.reading() as connection:
        assert connection.scalars(sa.select(saga_workers.c.migration)).all() == [number(HEAD)]
        assert mixed.earlier_workers(connection) == []
    an_older_worker(store)
    with store.database.reading() as connection:
        assert mixed.earlier_workers(connection) == ["w-1", "w-old"]


def test_a_view_that_an_older_worker_writes_is_made_anew_when_it_has_gone(store: Store) -> None:
    """Not before, and once; then its rows have what the older worker did not write."""
    an_older_worker(store)
    replaced(store.database, sagas, without_columns=("wakes_at", "deadline_at"))
    assert upgrade(store.database) == ["sagas"]
    assert store.write(started("s-1")) == [Written()]
    before = written_by_it(store.database, "s-1")
    repair = Repair(store.database, store.log, store.views)
    assert (repair.step(), upgrade(store.database)) == ([], [])
    assert rows(store.database, sagas) != [before]
    store.workers.leave("w-old")
    assert repair.step() == ["sagas"]
    assert rows(store.database, sagas) == [before]
    assert not is_marked(store)
    assert repair.step() == []


def test_the_next_start_makes_it_anew_too(store: Store) -> None:
    """A process that may make tables need not wait for the repair."""
    an_older_worker(store)
    replaced(store.database, sagas, without_columns=("wakes_at",))
    upgrade(store.database)
    store.write(started("s-1"))
    before = written_by_it(store.database, "s-1")
    store.workers.leave("w-old")
    assert upgrade(store.database) == ["sagas"]
    assert rows(store.database, sagas) == [before]
    assert (is_marked(store), upgrade(store.database)) == (False, [])


def findings(store: Store) -> list[tuple[str, str]]:
    return [(found.verdict, found.found) for found in versions(store.database)]


def test_the_doctor_tells_of_older_workers_and_of_views_that_they_write(store: Store) -> None:
    """While they are at work, and until the view is made anew."""
    assert findings(store) == [("ok", "no worker is of an earlier version")]
    an_older_worker(store)
    assert findings(store) == [("ok", "1 workers of an earlier version: w-old")]
    replaced(store.database, sagas, without_columns=("wakes_at",))
    upgrade(store.database)
    lacks = "the view 'sagas' lacks what an earlier version does not write"
    assert findings(store) == [
        ("ok", f"1 workers of an earlier version: w-old; {lacks}, and is made anew when they have gone")
    ]
    store.workers.leave("w-old")
    ((verdict, found),) = findings(store)
    assert (verdict, found.partition(":")[0]) == ("warning", lacks)


def test_a_view_that_0_1_0_made_anew_is_ours_when_the_database_is_upgraded_again(store: Store) -> None:
    """A database can be taken back to 0.1.0: the registry does not know the table that it made."""
    newer = set(sagas.columns.keys()) - VIEWS_0_1_0["sagas"]
    replaced(store.database, sagas, without_columns=tuple(newer))
    with store.database.writing() as connection:
        registry.forget(connection, "sagas")
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0003'")
    assert upgrade(store.database) == ["sagas"]


def test_a_view_that_is_made_anew_without_older_workers_is_not_marked(store: Store) -> None:
    """Nobody writes it but those that know all its columns."""
    replaced(store.database, sagas, without_columns=("wakes_at",))
    assert upgrade(store.database) == ["sagas"]
    assert not is_marked(store)
