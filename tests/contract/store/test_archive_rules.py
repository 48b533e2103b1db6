"""A stream leaves the log in one way only: after it was entered in saga_archives, as it stands; and comes back so."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from saga_es.store.log.entries import Entry
from saga_es.store.ports import Refused, Written
from saga_es.store.tables import saga_archives, saga_events
from tests.conftest import Store, note_draft

NOW = datetime(2024, 7, 1, tzinfo=UTC)


def row_of(entry: Entry) -> dict[str, object]:
    names = ("position", "stream_id", "category", "version", "type", "data", "recorded_at", "schema", "hash")
    values = (getattr(entry, "text" if name == "data" else name) for name in names)
    return dict(zip(names, values, strict=True))


def stone(entry: Entry, **other: object) -> dict[str, object]:
    row = {"stream_id": entry.stream_id, "version": entry.version, "hash": entry.hash}
    return {**row, "archive": "2024.ndjson.gz", "archived_at": NOW, **other}


def run(store: Store, *statements: sa.Executable) -> None:
    with store.database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def refused(store: Store, *statements: sa.Executable, words: str) -> None:
    with pytest.raises(DBAPIError, match=words):
        run(store, *statements)


@pytest.fixture
def three(store: Store) -> list[Entry]:
    """The entries of a stream of three, beside another of one."""
    store.write(note_draft("n-1", "a", "b", "c"), note_draft("n-2", "x"))
    return store.log.entries("n-1")


def archive(store: Store, entries: list[Entry]) -> None:
    run(store, sa.insert(saga_archives).values(stone(entries[-1])))
    run(store, sa.delete(saga_events).where(saga_events.c.stream_id == entries[-1].stream_id))


def test_an_archived_stream_may_be_removed_and_no_other(store: Store, three: list[Entry]) -> None:
    """Its rows go, also one by one; those of its neighbour stay."""
    run(store, sa.insert(saga_archives).values(stone(three[-1])))
    refused(store, sa.delete(saga_events), words="append-only: no DELETE")
    for entry in three:
        run(store, sa.delete(saga_events).where(saga_events.c.position == entry.position))
    assert [entry.stream_id for entry in store.log.entries()] == ["n-2"]


@pytest.mark.parametrize("other", [{"version": 2}, {"version": 4}, {"hash": "f" * 64}, {"stream_id": "n-3"}], ids=str)
def test_only_a_stream_as_it_stands_is_archived(store: Store, three: list[Entry], other: dict[str, object]) -> None:
    """Another version, another hash, a stream that is not there: nobody lays a stone that would open the log."""
    refused(store, sa.insert(saga_archives).values(stone(three[-1], **other)), words="archived at its last version")
    refused(store, sa.delete(saga_events).where(saga_events.c.version == 1), words="append-only")


def test_what_stands_in_the_archives_cannot_be_changed(store: Store, three: list[Entry]) -> None:
    """No UPDATE, no REPLACE, no second time, and no DELETE while a single event is missing."""
    archive(store, three)
    refused(store, sa.update(saga_archives).values(version=9), words="no UPDATE")
    refused(store, sa.update(saga_archives).values(archive="elsewhere"), words="no UPDATE")
    refused(store, sa.insert(saga_archives).values(stone(three[-1])), words="saga_archives says")
    refused(store, sa.delete(saga_archives), words="before all events of the stream are back")
    more = {"postgresql": "TRUNCATE saga_archives", "sqlite": "REPLACE", "mysql": "REPLACE"}[store.database.driver.name]
    if more == "REPLACE":
        values = f"'n-1', 3, '{three[-1].hash}', 'elsewhere', '2024-01-01'"
        more = f"REPLACE INTO saga_archives (stream_id, version, hash, archive, archived_at) VALUES ({values})"
    refused(store, sa.text(more), words="saga_archives says")


def test_an_archived_stream_cannot_begin_again_or_go_on(store: Store, three: list[Entry]) -> None:
    """A saga that is archived must not run twice; the draft alone is refused, and the rest of its batch stands."""
    archive(store, three)
    first, second = store.write(note_draft("n-1", "again"), note_draft("n-3", "new"))
    assert isinstance(first, Refused)
    assert "the stream is archived" in first.reason
    assert second == Written()
    refused(store, sa.insert(saga_events).values({**row_of(three[2]), "position": 99, "version": 4}), words="archived")


def test_a_stream_that_is_archived_but_still_there_cannot_go_on(store: Store, three: list[Entry]) -> None:
    """What is entered is the end: an append that comes between would be removed with the rest, unseen."""
    run(store, sa.insert(saga_archives).values(stone(three[-1])))
    (receipt,) = store.write(note_draft("n-1", "late", expected_version=3))
    assert isinstance(receipt, Refused)
    assert store.log.entries("n-1") == three


def test_a_stream_comes_back_from_its_end_to_its_beginning(store: Store, three: list[Entry]) -> None:
    """In one transaction with the entry in the archives going; then it goes on as if nothing had been."""
    archive(store, three)
    gone = sa.delete(saga_archives).where(saga_archives.c.stream_id == "n-1")
    run(store, *(sa.insert(saga_events).values(row_of(entry)) for entry in reversed(three)), gone)
    assert store.log.entries("n-1") == three
    assert store.write(note_draft("n-1", "on", expected_version=3)) == [Written()]


def test_a_stream_comes_back_in_one_statement(store: Store, three: list[Entry]) -> None:
    """So that an import need not send row by row."""
    archive(store, three)
    gone = sa.delete(saga_archives).where(saga_archives.c.stream_id == "n-1")
    run(store, sa.insert(saga_events).values([row_of(entry) for entry in reversed(three)]), gone)
    assert store.log.entries("n-1") == three


def test_nothing_else_comes_back_in_its_name(store: Store, three: list[Entry]) -> None:
    """Not from the beginning, not with another end, not with an end that has another hash."""
    archive(store, three)
    for entry, other in ((three[0], {}), (three[1], {}), (three[2], {"hash": "f" * 64}), (three[2], {"version": 2})):
        with pytest.raises(IntegrityError, match="the stream is archived"):
            run(store, sa.insert(saga_events).values({**row_of(entry), **other}))


def test_an_entry_may_be_taken_back_before_anything_was_removed(store: Store, three: list[Entry]) -> None:
    """An archiving that was given up leaves the log as it was."""
    run(store, sa.insert(saga_archives).values(stone(three[-1])))
    run(store, sa.delete(saga_archives))
    assert store.write(note_draft("n-1", "on", expected_version=3)) == [Written()]


def test_a_temporary_table_of_the_same_name_opens_nothing(store: Store, three: list[Entry]) -> None:
    """The rules mean the table beside the log. MySQL cannot say so; docs/the-log.md says what not to grant there."""
    entry = "stream_id VARCHAR(64), version INTEGER, hash VARCHAR(64)"
    is_fooled = store.database.driver.name == "mysql"
    with store.database.engine.connect() as raw:
        raw.exec_driver_sql(f"CREATE TEMPORARY TABLE saga_archives ({entry})")
        raw.exec_driver_sql("INSERT INTO saga_archives VALUES ('n-1', 3, 'f00d')")
        with nullcontext() if is_fooled else pytest.raises(DBAPIError, match="append-only"):
            raw.exec_driver_sql("DELETE FROM saga_events WHERE stream_id = 'n-1'")
        raw.rollback()
        if is_fooled:
            raw.exec_driver_sql("DROP TEMPORARY TABLE saga_archives")
    assert store.log.entries("n-1") == three
