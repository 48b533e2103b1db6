"""PostgreSQL with a synchronous standby: a failover under load, and a wait for the standby that is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.drivers.url import parse_url
from saga_es.store.ports import Written
from tests.conftest import Store, note_draft
from tests.support.trips import until
from tests.torture.failover import failed_over
from tests.torture.servers import Pair


def test_a_failover_under_load_loses_no_saga_and_strands_none(tmp_path: Path) -> None:
    """The primary is killed, the standby promoted; workers and callers with a URL of both go on."""
    found = failed_over(tmp_path, seed=1)
    assert found.faults == []
    assert found.ends.total() > 10


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A primary whose commits wait for its standby."""
    made = Pair()
    try:
        yield made.open()
    finally:
        made.close()


@pytest.fixture
def store(pair: Pair) -> Iterator[Store]:
    """A store on it."""
    database = Database(pair.url)
    store = Store.at(database)
    migrate.upgrade(database, store.log, store.views)
    yield store
    database.close()


def test_a_wait_for_the_standby_that_is_cancelled_is_no_answer(pair: Pair, store: Store) -> None:
    """COMMIT says that all is well, with a warning; to us nobody knows, until the standby has it."""
    pair.standby.pause()
    outcome: list[Any] = []

    def write() -> None:
        try:
            outcome.append(store.write(note_draft("n-1", "a")))
        except StoreUnavailable as error:
            outcome.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until(lambda: pair.primary.order(cancel))
        writing.join(10)
    finally:
        pair.standby.go_on()
    (error,) = outcome
    assert isinstance(error, StoreUnavailable)
    assert "perhaps not on the standby" in str(error)
    assert store.write(note_draft("n-1", "a")) == [Written()]  # the same again: it stands there, and now on both
    in_step = "SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication"
    assert until(lambda: pair.primary.order(in_step) == [(True,)])
    assert len(store.log.read("n-1")) == 1


@pytest.mark.parametrize(
    ("text", "hosts", "attributes"),
    [
        ("postgresql://u:p@a:1,b:2/db?target_session_attrs=read-write", ("a:1", "b:2"), "read-write"),
        ("postgresql://u@a,b,c/db", ("a", "b", "c"), "read-write"),
        ("postgres://a:1,b:2/db?target_session_attrs=any&connect_timeout=3", ("a:1", "b:2"), "any"),
        ("postgresql+psycopg://u@a:1,b:2/db", ("a:1", "b:2"), "read-write"),
    ],
)
def test_a_url_may_name_several_hosts(text: str, hosts: tuple[str, ...], attributes: str) -> None:
    """As PostgreSQL's own tools take it; the one that can be written to is meant, unless it says otherwise."""
    url = parse_url(text)
    assert (url.query["host"], url.query["target_session_attrs"]) == (hosts, attributes)
    assert (url.drivername, url.database, url.host) == ("postgresql+psycopg", "db", None)
    assert url.username == (None if text.startswith("postgres:") else "u")


def test_a_url_of_one_host_is_left_as_it_is() -> None:
    """Also where a comma stands elsewhere."""
    url = parse_url("postgresql://u:a,b@h:5/db?options=-c%20search_path%3Da,b")
    assert (url.host, url.port, url.password) == ("h", 5, "a,b")
    assert "host" not in url.query
