"""The contract once more on another version of PostgreSQL, where two are here: the store, and the engine on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Store, migrated
from tests.contract.engine import test_append, test_engine, test_follow, test_takeover
from tests.contract.store import (
    test_archive_rules,
    test_by_key,
    test_log,
    test_migrating_a_log,
    test_migrations,
    test_notifications,
    test_postgresql_batch,
    test_rebuild,
    test_verify,
    test_views,
    test_views_that_refuse,
    test_workers,
    test_writer,
)
from tests.support.again import once_more
from tests.support.any_store import AnyStore, OnDatabase
from tests.support.databases import fresh_database
from tests.support.servers import SECOND

APART = (
    "test_thousands_are_followed_from_afar",  # long
    "test_whatever_is_bad_in_a_batch_gets_its_receipt_and_the_others_are_written",  # of SQLite
    "test_on_mysql_a_gap_is_looked_into_only_when_it_has_been_there_for_a_while",
    "test_every_connection_to_sqlite_is_safe_against_a_power_cut",
)

globals().update(
    once_more(
        test_append,
        test_archive_rules,
        test_by_key,
        test_engine,
        test_follow,
        test_log,
        test_migrating_a_log,
        test_migrations,
        test_notifications,
        test_postgresql_batch,
        test_rebuild,
        test_takeover,
        test_verify,
        test_views,
        test_views_that_refuse,
        test_workers,
        test_writer,
        apart_from=APART,
    )
)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database there."""
    with fresh_database(SECOND, tmp_path, migrated if "store" in request.fixturenames else None) as url:
        yield url


@pytest.fixture
def any_store(store: Store) -> AnyStore:
    """The store there, behind its ports."""
    return OnDatabase.of(store)
