"""Who follows the log skips nothing, though databases hand out positions before they commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import SimpleQueue

import pytest
import sqlalchemy as sa

from saga_es.store.log.entries import Entry
from saga_es.store.log.tail import Tail, follow
from saga_es.store.tables import saga_events
from tests.conftest import TIMEOUT_S, Store, note_draft

WITH_LATE_COMMITS = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)


def followed(entries: Iterator[Entry]) -> SimpleQueue[str]:
    """The streams of what a follower reads, as it reads them."""
    read: SimpleQueue[str] = SimpleQueue()

    def go_on() -> None:
        for entry in entries:
            read.put(entry.stream_id)
            if entry.stream_id == "last":
                return

    threading.Thread(target=go_on, daemon=True).start()
    return read


def streams(tail: Tail, after_position: int = 0) -> list[str]:
    return [entry.stream_id for entry in tail.read(after_position, 1000).entries]


def once(wanted: Callable[[], bool]) -> None:
    """Wait until something is so."""
    give_up_at = time.monotonic() + TIMEOUT_S
    while not wanted():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def append(store: Store, connection: sa.Connection, stream_id: str, *texts: str) -> None:
    store.write_within(connection, note_draft(stream_id, *texts))


@WITH_LATE_COMMITS
def test_a_position_that_is_committed_late_is_not_passed(store: Store) -> None:
    """A slow transaction takes its position first and commits last: what is behind it waits, and comes in order."""
    tail = Tail(store.database, store.log, age_s=0)
    store.write(note_draft("before", "x"))
    with store.database.writing() as slow:
        append(store, slow, "late", "taken first")
        store.write(note_draft("early", "committed first"))
        for _ in range(5):
            assert streams(tail) == ["before"]
    assert streams(tail) == ["before", "late", "early"]


@WITH_LATE_COMMITS
def test_a_gap_that_stays_is_passed(store: Store) -> None:
    """A transaction that was rolled back leaves a gap; also behind others, of which some are still open."""
    tail = Tail(store.database, store.log, age_s=0)
    with ExitStack() as open_ones:
        for number in range(3):
            connection = open_ones.enter_context(store.database.reading())
            append(store, connection, f"never-{number}", "x")
            store.write(note_draft(f"n-{number}", "x"))
            if number != 1:
                connection.rollback()
        for _ in range(5):
            assert streams(tail) in ([], ["n-0"])
    once(lambda: streams(tail) == ["n-0", "n-1", "n-2"])


@WITH_LATE_COMMITS
def test_nobody_who_appends_waits_for_a_reader_of_the_tail(store: Store) -> None:
    """While a gap is looked into again and again, others append, also to the streams of the slow transaction."""
    tail = Tail(store.database, store.log, age_s=0)
    with store.database.writing() as slow:
        append(store, slow, "slow", "1", "2")
        for number in range(20):
            store.write(note_draft(f"n-{number}", "x"))
            assert streams(tail) == []
        append(store, slow, "slow-too", "3")
    assert len(streams(tail)) == 23


@WITH_LATE_COMMITS
def test_what_runs_elsewhere_holds_nobody_up(store: Store) -> None:
    """A long transaction that has not appended does not matter."""
    tail = Tail(store.database, store.log, age_s=0)
    with store.database.writing() as long:
        long.execute(sa.text("CREATE TABLE elsewhere (x INTEGER)"))
        long.execute(sa.text("INSERT INTO elsewhere VALUES (1)"))
        long.execute(sa.select(saga_events)).all()
        with store.database.reading() as never:
            append(store, never, "never", "x")
            never.rollback()
        store.write(note_draft("n-1", "x"))
        once(lambda: streams(tail) == ["n-1"])


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_on_mysql_a_gap_is_looked_into_only_when_it_has_been_there_for_a_while(store: Store) -> None:
    """A statement has been handed a position a moment before its row stands."""
    tail = Tail(store.database, store.log, age_s=3600)
    with store.database.reading() as never:
        append(store, never, "never", "x")
        store.write(note_draft("n-1", "x"))
        never.rollback()
    assert [streams(tail) for _ in range(3)] == [[], [], []]
    tail._age_s = 0
    assert streams(tail) == ["n-1"]


def test_a_stretch_says_whether_it_reaches_the_end(store: Store) -> None:
    """It ends where it is full, and is the last when there is nothing more behind it."""
    store.write(*(note_draft(f"n-{number}", "x") for number in range(5)))
    tail = Tail(store.database, store.log)
    read, position = [], 0
    for _ in range(3):
        stretch = tail.read(position, 2)
        position = stretch.reached
        read.append((len(stretch.entries), stretch.is_last))
    assert read == [(2, False), (2, False), (1, True)]


def test_the_whole_log_is_followed(store: Store) -> None:
    """What is there, and what comes."""
    store.write(note_draft("first", "x"))
    read = followed(follow(store.database, store.log, every_s=0.01))
    assert read.get(timeout=TIMEOUT_S) == "first"
    store.write(note_draft("last", "x"))
    assert read.get(timeout=TIMEOUT_S) == "last"


@WITH_LATE_COMMITS
def test_one_stream_is_followed_whatever_others_do(store: Store) -> None:
    """A version comes only after the one before it: nobody has to wait for a slow transaction elsewhere."""
    with store.database.writing() as slow:
        append(store, slow, "slow", "x")
        store.write(note_draft("last", "x"))
        assert next(follow(store.database, store.log, "last", every_s=0.01)).stream_id == "last"
