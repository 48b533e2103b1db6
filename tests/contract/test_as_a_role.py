"""The contract once more, as a role that may only append to the log and read it, by what `saga-es db grants` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, ProgrammingError

from saga_es.errors import MigrationDenied, SettingsError, StoreUnavailable
from saga_es.store.admin import migrate
from saga_es.store.admin.grants import grants
from saga_es.store.database import Database
from saga_es.store.tables import saga_events
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view
from tests.conftest import Store, note_draft
from tests.contract.engine import test_append, test_engine, test_takeover
from tests.contract.store import test_log, test_notifications, test_workers, test_writer
from tests.e2e.conftest import run_cli
from tests.support.again import once_more
from tests.support.any_store import AnyStore, OnDatabase
from tests.support.databases import fresh_database

ROLE = "saga_es_test_app"

DDL = (
    "test_the_database_itself_refuses_to_change_the_log",  # denied before any trigger is asked
    "test_a_draft_the_database_never_takes_does_not_hurt_the_others",
    "test_views_and_log_change_in_one_transaction",
    "test_only_the_clock_of_the_database_says_who_lives",
)
"""Tests that make tables, or need the owner's rights."""

LONG = ("test_thousands_are_followed_from_afar",)

ON_SQLITE = ("test_whatever_is_bad_in_a_batch_gets_its_receipt_and_the_others_are_written",)
"""Where there are no roles."""

globals().update(
    once_more(
        test_append,
        test_notifications,
        test_engine,
        test_log,
        test_takeover,
        test_workers,
        test_writer,
        apart_from=DDL + LONG + ON_SQLITE,
    )
)


def as_owner(url: str, *statements: str) -> None:
    """Do something as the owner of the tables."""
    owner = Database(url)
    try:
        with owner.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        owner.close()


@pytest.fixture
def owner_url(tmp_path: Path) -> Iterator[str]:
    """An empty database, as its owner sees it."""
    with fresh_database("postgresql", tmp_path) as url:
        yield url


@pytest.fixture
def database_url(owner_url: str) -> str:
    """The same, migrated by its owner, as the role sees it that it granted what is needed."""
    owner = Database(owner_url)
    migrated = Store.at(owner)
    migrate.upgrade(owner, migrated.log, migrated.views)
    statements = grants(owner, [saga_view, tag_view], ROLE)
    owner.close()
    exists = f"SELECT FROM pg_roles WHERE rolname = '{ROLE}'"
    create = f"IF NOT EXISTS ({exists}) THEN CREATE ROLE {ROLE} LOGIN PASSWORD 'no secret'; END IF"
    race = "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL"  # another test made it at the same moment
    as_owner(owner_url, f"DO $$ BEGIN {create}; {race}; END $$", *statements)
    return sa.make_url(owner_url).set(username=ROLE, password="no secret").render_as_string(hide_password=False)


@pytest.fixture
def any_store(store: Store) -> AnyStore:
    """The store there, behind its ports."""
    return OnDatabase.of(store)


def denied(database: Database, statement: str) -> bool:
    with database.engine.connect() as connection, pytest.raises((ProgrammingError, DBAPIError)) as found:
        connection.exec_driver_sql(statement)
    return getattr(found.value.orig, "sqlstate", None) == "42501"


def test_the_role_may_neither_change_the_log_nor_take_its_rules_away(store: Store) -> None:
    """Denied before any trigger is asked; and it may not drop the triggers, or the table."""
    store.write(note_draft("n-1", "a"))
    for statement in (
        "UPDATE saga_events SET data = '{}'",
        "DELETE FROM saga_events",
        "TRUNCATE saga_events",
        "DROP TABLE saga_events",
        "ALTER TABLE saga_events DISABLE TRIGGER ALL",
        "DELETE FROM saga_archives",
        "UPDATE saga_alembic_version SET version_num = '0001'",
    ):
        assert denied(store.database, statement), statement


def test_an_upgrade_that_has_nothing_to_make_needs_no_owner(store: Store) -> None:
    """Workers may start as the role."""
    assert migrate.upgrade(store.database, store.log, store.views) == []


def test_an_upgrade_that_has_something_to_make_says_who_may(store: Store, owner_url: str) -> None:
    """A worker of a newer version, started too early."""
    as_owner(owner_url, "UPDATE saga_alembic_version SET version_num = '0002'")
    with pytest.raises(MigrationDenied, match="as the owner of the tables, then `saga-es db grants`"):
        migrate.upgrade(store.database, store.log, store.views)


def test_a_replay_says_who_may(database_url: str) -> None:
    """It makes tables, and the role makes none."""
    done = run_cli("replay", "--view", "sagas", "--database-url", database_url)
    assert done.returncode == 8, done.stderr
    assert done.stderr.rstrip().endswith("run the command as the owner of the tables")


def test_the_role_needs_what_it_is_granted(owner_url: str) -> None:
    """Without the grants it can do nothing at all."""
    owner = Database(owner_url)
    migrated = Store.at(owner)
    migrate.upgrade(owner, migrated.log, migrated.views)
    url = sa.make_url(owner_url).set(username=ROLE, password="no secret")
    stranger = Database(url.render_as_string(hide_password=False))
    with pytest.raises(StoreUnavailable), stranger.reading() as connection:
        connection.execute(sa.select(saga_events))
    stranger.close()
    owner.close()


def test_names_that_need_quotes_have_them(owner_url: str) -> None:
    """A role may be called anything."""
    owner = Database(owner_url)
    statements = grants(owner, [saga_view], 'a "role"')
    owner.close()
    assert statements[0] == 'GRANT USAGE ON SCHEMA public TO "a ""role"""'
    assert 'GRANT SELECT, INSERT ON public.saga_events TO "a ""role"""' in statements


def test_mariadb_has_grants_and_sqlite_has_none(tmp_path: Path) -> None:
    """There the account has a host; an SQLite file is whoever's who may write it."""
    with fresh_database("mariadb", tmp_path) as url:
        database = Database(url)
        store = Store.at(database)
        migrate.upgrade(database, store.log, store.views)
        statements = grants(database, [saga_view, tag_view], "saga_es_app@10.%")
        made = [f"CREATE USER {statements[0].rpartition(' TO ')[2]}", *statements]
        undone = f"DROP USER {statements[0].rpartition(' TO ')[2]}"
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            try:
                for statement in made:
                    connection.exec_driver_sql(statement.replace("%", "%%"))
            finally:
                connection.exec_driver_sql(undone.replace("%", "%%"))
        database.close()
    assert statements[0].startswith("GRANT SELECT, INSERT ON saga_es_test_")
    assert statements[0].endswith(".saga_events TO 'saga_es_app'@'10.%'")
    with pytest.raises(SettingsError, match="SQLite knows no roles"):
        grants(Database(f"sqlite:///{tmp_path / 'a.sqlite'}"), [])
