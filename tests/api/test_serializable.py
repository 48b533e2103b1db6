"""The API once more on a PostgreSQL where SERIALIZABLE is the default, which gives transactions up now and then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from saga_es.store.database import Database
from tests.api import test_commands, test_execute, test_services
from tests.support.again import once_more
from tests.support.databases import fresh_database

ON_SQLITE = ("test_a_start_that_is_not_in_the_log_is_not_accepted",)
"""Tests that lock the file."""

globals().update(once_more(test_execute, test_commands, test_services, apart_from=ON_SQLITE))


@contextmanager
def serializable(folder: Path) -> Iterator[str]:
    """An empty database, all of whose transactions are serializable unless they say otherwise."""
    with fresh_database("postgresql", folder) as url:
        database = Database(url)
        with database.writing() as connection:
            name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            connection.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'")
        database.close()
        try:
            yield url
        finally:  # other tests use the same database again
            with database.writing() as connection:
                connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET default_transaction_isolation')
            database.close()


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """The URL of such a database."""
    with serializable(tmp_path) as url:
        yield url


@pytest.fixture(scope="module")
def kept_database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same, which the tests of this module share."""
    with serializable(tmp_path_factory.mktemp("kept")) as url:
        yield url


def test_the_transactions_are_serializable(database_url: str) -> None:
    """Otherwise this module would prove nothing."""
    database = Database(database_url)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "serializable"
    database.close()
