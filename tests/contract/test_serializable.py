"""The contract once more at the isolation level SERIALIZABLE, where the database gives transactions up now and then."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from saga_es.store.database import Database
from saga_es.store.ports import Conflict, Written
from tests.conftest import Store, migrated, note_draft
from tests.contract.engine import test_append, test_engine, test_limits, test_takeover
from tests.contract.store import (
    test_log,
    test_notifications,
    test_rebuild,
    test_verify,
    test_verify_views,
    test_views,
    test_views_that_refuse,
    test_writer,
)
from tests.support.again import once_more
from tests.support.any_store import AnyStore, OnDatabase
from tests.support.databases import fresh_database

LEVEL = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "mariadb": "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
}
SHOWN = {"postgresql": "SHOW transaction_isolation", "mysql": "SELECT @@tx_isolation"}

APART = (
    "test_readers_see_an_event_and_its_view_together",  # here MariaDB has readers wait for writers
    "test_thousands_are_followed_from_afar",  # long, and nothing is appended at the same time
    "test_a_dropped_table_is_made_again_with_the_same_rows",  # long, the same at each level
    "test_interrupted_it_leaves_whole_views_and_the_next_one_clears_up",  # the same
    # They say themselves on which databases.
    "test_a_position_that_commits_late_is_in_the_new_view",
    "test_who_keeps_the_log_in_a_transaction_for_ever_is_not_waited_for_for_ever",
    "test_whatever_is_bad_in_a_batch_gets_its_receipt_and_the_others_are_written",
    # A snapshot that is older than the swap finds the new table, and not its rows (PostgreSQL's manual, 13.6).
    "test_what_is_appended_meanwhile_is_in_the_new_view_and_readers_see_whole_views",
)

globals().update(
    once_more(
        test_append,
        test_notifications,
        test_engine,
        test_limits,
        test_log,
        test_rebuild,
        test_takeover,
        test_verify,
        test_verify_views,
        test_views,
        test_views_that_refuse,
        test_writer,
        apart_from=APART,
    )
)


@pytest.fixture(params=LEVEL)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database, all of whose transactions are serializable."""
    with fresh_database(request.param, tmp_path, migrated if "store" in request.fixturenames else None) as url:
        made = Database(url)

        @event.listens_for(made.engine, "connect")
        def serialize(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute(LEVEL[request.param])
            connection.commit()

        yield made
        made.close()


@pytest.fixture
def database_url(database: Database) -> str:
    """Its URL."""
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def any_store(store: Store) -> AnyStore:
    """The store there, behind its ports."""
    return OnDatabase.of(store)


def test_the_transactions_are_serializable(database: Database) -> None:
    """Otherwise this module would prove nothing."""
    with database.writing() as connection:
        level = connection.exec_driver_sql(SHOWN[database.driver.name]).scalar_one()
    assert level.upper().replace(" ", "-") == "SERIALIZABLE"


def test_writers_who_meet_all_come_to_an_end(store: Store) -> None:
    """Of many who append to the same streams at once one wins each version; the database is away for none of them."""
    writers = [Store.at(store.database) for _ in range(8)]

    def append(number: int) -> list[Any]:
        return [
            receipt
            for version in range(10)
            for receipt in writers[number].write(
                *(note_draft(f"n-{n}", number, expected_version=version) for n in range(3))
            )
        ]

    with ThreadPoolExecutor(len(writers)) as pool:
        receipts = [receipt for some in pool.map(append, range(len(writers))) for receipt in some]
    assert {type(receipt) for receipt in receipts} == {Written, Conflict}
    assert receipts.count(Written()) == 30
    assert [len(store.log.read(f"n-{n}")) for n in range(3)] == [10] * 3
