"""The tables come and go by Alembic, also when many processes ask at once, and are what the code says they are."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from saga_es.core import events as e
from saga_es.errors import NotMigrated, NotOurs, StoreUnavailable
from saga_es.store import registry
from saga_es.store.admin import migrate, revisions
from saga_es.store.admin.ownership import adopt
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Written
from saga_es.store.registry import Kind
from saga_es.store.tables import VERSION_TABLE, metadata
from saga_es.store.views.saga_view import sagas
from tests.conftest import AT, Store, note_draft
from tests.support.processes import ROOT, Process, start

TABLES = {
    "saga_events",
    "saga_archives",
    "saga_checkpoints",
    "saga_workers",
    "saga_bells",
    "saga_subjects",
    "saga_tables",
    "sagas",
    "saga_tags",
    VERSION_TABLE,
}


def tables(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(sa.inspect(connection).get_table_names())


def upgrade(database: Database) -> list[str]:
    store = Store.at(database)
    return migrate.upgrade(database, store.log, store.views)


def downgrade(database: Database) -> None:
    with database.writing() as connection:
        command.downgrade(revisions.config(connection), "base")


# ── Up and down ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_database_is_not_migrated_and_the_error_says_what_to_do(database: Database) -> None:
    """`check` tells what was found, what is needed, and the command that cures it; it makes no tables."""
    with pytest.raises(NotMigrated, match="saga-es db upgrade") as caught:
        migrate.check(database)
    assert (caught.value.found, caught.value.wanted) == (None, migrate.head())
    assert tables(database) == set()


def test_an_older_database_is_not_migrated(database: Database) -> None:
    """A revision that is not the one this version needs is refused, and named."""
    upgrade(database)
    with database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0000'")
    with pytest.raises(NotMigrated, match="0000"):
        migrate.check(database)


def test_upgrade_makes_everything_and_says_which_views(database: Database) -> None:
    """After the upgrade all tables are there and `check` is content; a second upgrade has nothing to make."""
    assert upgrade(database) == ["sagas", "saga_tags"]
    assert tables(database) == TABLES
    migrate.check(database)
    assert upgrade(database) == []


def test_up_down_and_up_again(database: Database) -> None:
    """Down removes the log and the workers, and up makes a log that works as the first did."""
    upgrade(database)
    assert Store.at(database).write(note_draft("n-1", "a")) == [Written()]
    downgrade(database)
    assert {"saga_events", "saga_workers", "saga_bells"}.isdisjoint(tables(database))
    with pytest.raises(NotMigrated):
        migrate.check(database)
    upgrade(database)
    migrate.check(database)
    store = Store.at(database)
    assert store.log.entries() == []
    assert store.write(note_draft("n-1", "b")) == [Written()]


def test_a_log_made_anew_has_no_ghosts_in_its_views(database: Database) -> None:
    """Views are folds of the log: when the log went with a downgrade, the next upgrade leaves none of its rows."""
    upgrade(database)
    Store.at(database).write(Draft("s-1", SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, "w-1"),), AT))
    downgrade(database)
    upgrade(database)
    with database.reading() as connection:
        assert connection.execute(sa.select(sagas)).all() == []


def test_the_tables_of_the_application_are_left_alone(database: Database) -> None:
    """Up and down touch no table that is not ours, not even an `alembic_version`."""
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")
    upgrade(database)
    downgrade(database)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "theirs"


def test_the_migrations_make_what_the_code_says(store: Store) -> None:
    """Alembic's autogenerate finds nothing to change between the migrated database and the tables in the code."""

    def ours(_object: Any, name: str | None, kind: str, reflected: bool, _to: Any) -> bool:  # noqa: FBT001 (Alembic's)
        return not (kind == "table" and reflected and name not in metadata.tables)

    with store.database.reading() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "include_object": ours,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


# ── Views that another version made ──────────────────────────────────────────────────────────────────────

STARTED = Draft("s-1", SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, "w-1", {"customer": "7"}),), AT)


def rows(database: Database, table: sa.Table) -> list[dict[str, Any]]:
    with database.reading() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def replaced(
    database: Database, table: sa.Table, *, without_columns: tuple[str, ...] = (), indexes: bool = True
) -> None:
    """Put a table of another version in the place of a view's; it is empty."""
    kept = [column for column in table.columns if column.name not in without_columns]
    older = sa.Table(table.name, sa.MetaData(), *(column._copy() for column in kept))
    for index in table.indexes if indexes else ():
        if all(column.name in older.c for column in index.columns):
            sa.Index(index.name, *(older.c[column.name] for column in index.columns))
    with database.writing() as connection:
        table.drop(connection)
        registry.record(connection, older.name, registry.columns_of(older), Kind.VIEW)
        older.create(connection)


def test_a_view_without_a_column_of_this_version_is_made_anew(database: Database) -> None:
    """From the log, and the upgrade says so; a view that is as it should be is left alone."""
    upgrade(database)
    assert Store.at(database).write(STARTED) == [Written()]
    before = rows(database, sagas)
    replaced(database, sagas, without_columns=("paused", "parent"))
    assert upgrade(database) == ["sagas"]
    assert rows(database, sagas) == before
    assert upgrade(database) == []


def test_a_view_with_a_column_that_this_version_has_not_is_made_anew(database: Database) -> None:
    """It might have to be filled, and nobody would. A column that somebody else added is not dropped unasked."""
    upgrade(database)
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE saga_tags ADD COLUMN colour INTEGER")
    with pytest.raises(NotOurs, match="saga-es db adopt saga_tags"):
        upgrade(database)
    adopt(database, list(Store.at(database).views), ["saga_tags"])
    assert upgrade(database) == ["saga_tags"]
    assert upgrade(database) == []


def test_a_view_without_an_index_of_this_version_is_made_anew(database: Database) -> None:
    """Lists would be right without it, and slow."""
    upgrade(database)
    assert Store.at(database).write(STARTED) == [Written()]
    replaced(database, sagas, indexes=False)
    assert upgrade(database) == ["sagas"]
    assert [row["saga_id"] for row in rows(database, sagas)] == ["s-1"]
    assert upgrade(database) == []


def test_an_index_that_somebody_added_is_left_alone(database: Database) -> None:
    """It is nobody's business but theirs."""
    upgrade(database)
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE INDEX by_parent ON sagas (parent)")
    assert upgrade(database) == []


# ── At once ──────────────────────────────────────────────────────────────────────────────────────────────


def test_processes_that_upgrade_at_once_all_succeed(database_url: str, tmp_path: Path) -> None:
    """Twenty upgrade one empty database at the same moment: one makes the tables, the others wait, and find them."""
    assert sorted(upgraded_at_once(database_url, tmp_path, 20)) == ["['sagas']"] + ["[]"] * 19


def test_one_of_them_makes_an_older_view_anew(database_url: str, database: Database, tmp_path: Path) -> None:
    """The others wait for it, and find it made."""
    upgrade(database)
    Store.at(database).write(STARTED)
    replaced(database, sagas, without_columns=("paused",))
    assert sorted(upgraded_at_once(database_url, tmp_path)) == ["['sagas']"] + ["[]"] * 5
    assert [row["paused"] for row in rows(database, sagas)] == [False]


def upgraded_at_once(database_url: str, folder: Path, count: int = 6) -> list[str]:
    """What each of so many processes says that it made."""
    told = folder / "now"
    processes: list[Process] = []
    saying: list[TextIO] = []
    with ExitStack() as running:
        for _ in range(count):
            process, says = start("tests.support.upgrading", database_url, str(told), cwd=ROOT, env=os.environ)
            running.callback(process.kill)
            saying.append(running.enter_context(says))
            processes.append(process)
        assert [says.readline() for says in saying] == ["ready\n"] * count
        told.touch()
        said = [says.read() for says in saying]
        assert [process.wait(60) for process in processes] == [0] * count, said
    return [made.strip() for made in said]


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────


def test_every_connection_to_sqlite_is_safe_against_a_power_cut(tmp_path: Path) -> None:
    """Each of many connections open at once has WAL, synchronous=FULL, and patience with a busy database."""
    database = Database(f"sqlite:///{tmp_path / 'saga.sqlite'}")
    pragmas = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
    with ExitStack() as open_ones:
        for number in range(15):
            opening = database.writing() if number == 0 else database.reading()
            connection = open_ones.enter_context(opening)
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
            assert found == ["wal", 2, 10_000, 1]
    database.close()


def test_a_database_that_is_away_is_store_unavailable(tmp_path: Path) -> None:
    """A file that cannot be opened, and servers that do not answer, are one and the same error of ours."""
    urls = (f"sqlite:///{tmp_path / 'no' / 'such.sqlite'}", "postgresql://u@127.0.0.1:9/x", "mysql://u@127.0.0.1:9/x")
    for url in urls:
        database = Database(url)
        with pytest.raises(StoreUnavailable):
            migrate.check(database)
        database.close()


def test_the_revision_that_is_needed_is_the_newest() -> None:
    """It is written down, so that a start with nothing to migrate need not ask Alembic."""
    assert revisions.newest() == migrate.head()


def test_a_start_with_nothing_to_migrate_does_without_alembic(store: Store, database_url: str) -> None:
    """Its import takes a fifth of the time of all imports."""
    del store  # asked for because it migrates
    program = (
        "import sys; from saga_es import open_engine\n"
        f"with open_engine({database_url!r}): print('alembic' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-1] == "False"
