"""The log keeps what was appended, exactly, in order, for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from saga_es.errors import UnreadableEvent
from saga_es.store.log.entries import Draft, Entry, Unreadable
from saga_es.store.log.log import ROWS_AT_ONCE
from saga_es.store.ports import Conflict, Receipt, Written
from saga_es.store.tables import saga_events
from tests.conftest import AT, NOTE, NoteErased, NoteWritten, Store, note_draft
from tests.support.altered import altered
from tests.support.any_store import AnyStore


def append(store: Store | AnyStore, *drafts: Draft) -> None:
    assert store.write(*drafts) == [Written()] * len(drafts)


# ── Appending and reading ────────────────────────────────────────────────────────────────────────────────


def test_what_was_appended_is_read_back(any_store: AnyStore) -> None:
    """A stream reads as the events that were appended, in order, with their versions."""
    append(any_store, Draft("n-1", NOTE, 0, (NoteWritten("a"), NoteErased()), AT))
    read = any_store.log.read("n-1")
    assert [(r.version, r.event) for r in read] == [(1, NoteWritten("a")), (2, NoteErased())]
    assert {(r.stream_id, r.category, r.recorded_at) for r in read} == {("n-1", NOTE, AT)}


@pytest.mark.parametrize("stream_id", ["nobody", "", "n" * 65, "n-\ud800", "n-\0"])
def test_a_stream_that_does_not_exist_is_empty(any_store: AnyStore, stream_id: str) -> None:
    """Nothing was appended, or could be: nothing is read, and nothing is archived."""
    assert any_store.log.read(stream_id) == []
    assert any_store.log.read_many([stream_id, "nothing"]) == {stream_id: [], "nothing": []}
    assert any_store.log.entries_of([stream_id]) == {stream_id: []}
    assert any_store.log.archive_of(stream_id) is None


def test_versions_are_gapless_from_1_in_each_stream(any_store: AnyStore) -> None:
    """However appends to several streams interleave, each stream counts 1, 2, 3 on its own."""
    for version in range(3):
        append(any_store, *(note_draft(f"n-{n}", "x", expected_version=version) for n in range(3)))
    append(any_store, note_draft("n-1", "y", "z", expected_version=3))
    read = any_store.log.read_many(["n-0", "n-1", "n-2"])
    versions = {name: [r.version for r in rows] for name, rows in read.items()}
    assert versions == {"n-0": [1, 2, 3], "n-1": [1, 2, 3, 4, 5], "n-2": [1, 2, 3]}


def test_the_version_of_a_stream_is_that_of_its_last_event(store: Store) -> None:
    """And 0 when it does not exist."""
    append(store, note_draft("n-1", "a", "b"))
    with store.database.reading() as connection:
        assert [store.log.version(connection, name) for name in ("n-1", "nobody")] == [2, 0]


def test_recorded_is_what_will_be_read(any_store: AnyStore) -> None:
    """A draft tells beforehand exactly what the stream holds afterwards."""
    draft = note_draft("n-1", "a", "b")
    append(any_store, draft)
    assert any_store.log.read("n-1") == draft.recorded()


def test_an_event_that_cannot_be_decoded_is_told_beside_those_that_can(any_store: AnyStore) -> None:
    """A type that this version does not know: to read the stream fails, to tell it does not."""
    prepared = any_store.writer.prepare(note_draft("n-1", "a", "b"))
    draft = prepared.draft
    assert any_store.writer.write([altered(prepared, type="NoteInvented")]) == [Written()]
    with pytest.raises(UnreadableEvent):
        any_store.log.read("n-1")
    entries = any_store.log.entries_of(["n-1"])["n-1"]
    readable, unreadable = any_store.log.decode_all(entries)
    assert readable == draft.recorded()[0]
    assert isinstance(unreadable, Unreadable)
    assert unreadable.entry == entries[1]


def test_of_many_who_append_at_once_exactly_one_wins(store: Store) -> None:
    """Eight threads append at the same version at the same time: one event stands, seven are in conflict."""
    together = threading.Barrier(8)

    def attempt(number: int) -> Receipt:
        together.wait(10)
        return store.write(note_draft("n-1", number))[0]

    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(attempt, range(8)))
    assert [r.event for r in store.log.read("n-1")] == [NoteWritten(receipts.index(Written()))]
    assert sorted(map(repr, receipts)) == [repr(Conflict())] * 7 + [repr(Written())]


# ── Append-only, by rule of the database ─────────────────────────────────────────────────────────────────

COLUMNS = 'stream_id, category, version, type, "schema", hash, data, recorded_at'
VALUES = "'n-1', 'note', 1, 'Forged', 1, 'f00d', '{}', '2000-01-01 00:00:00'"
ALIKE = "stream_id = 'n-1', category = 'note', version = 1, type = 'Forged'"
EVERYWHERE = (
    "UPDATE saga_events SET type = 'Forged'",
    "UPDATE saga_events SET version = version + 10 WHERE stream_id = 'n-1'",
    "DELETE FROM saga_events",
    "DELETE FROM saga_events WHERE version = 2",
)
UPSERT = f"INSERT INTO saga_events ({COLUMNS}) VALUES ({VALUES}) ON CONFLICT (stream_id, version) DO UPDATE SET "
ELSEWHERE = "position, 'n-9', 'note', 1, 'Forged', 1, 'f00d', '{}', recorded_at FROM saga_events WHERE version = 1"
FORGERIES: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "UPDATE OR REPLACE saga_events SET version = 2 WHERE version = 1",
        f"INSERT OR REPLACE INTO saga_events ({COLUMNS}) VALUES ({VALUES})",
        f"REPLACE INTO saga_events ({COLUMNS}) VALUES ({VALUES})",
        f"INSERT OR REPLACE INTO saga_events (position, {COLUMNS}) SELECT {ELSEWHERE}",
        UPSERT + "type = 'Forged'",
    ),
    "postgresql": (
        UPSERT + "type = 'Forged'",
        "TRUNCATE saga_events",
        "TRUNCATE saga_events RESTART IDENTITY CASCADE",
    ),
    "mysql": (
        f"REPLACE INTO saga_events ({COLUMNS}) VALUES ({VALUES})",
        f"REPLACE INTO saga_events (position, {COLUMNS}) SELECT {ELSEWHERE}",
        f"INSERT INTO saga_events ({COLUMNS}) VALUES ({VALUES}) ON DUPLICATE KEY UPDATE type = 'Forged'",
        f"UPDATE IGNORE saga_events SET {ALIKE}",
    ),
}


def test_the_database_itself_refuses_to_change_the_log(store: Store) -> None:
    """UPDATE, DELETE, REPLACE and their kin fail on a raw connection, and every row stays as it was."""
    append(store, note_draft("n-1", "a", "b"))
    before = store.log.entries()
    for written in (*EVERYWHERE, *FORGERIES[store.database.driver.name]):
        statement = written.replace('"', "`") if store.database.driver.name == "mysql" else written
        with store.database.engine.connect() as raw:
            with pytest.raises(DBAPIError, match="append-only"):
                raw.exec_driver_sql(statement.replace("%", "%%"))
            raw.commit()  # also where a statement failed half-way, nothing of it may hold
        assert store.log.entries() == before, statement


def test_the_log_goes_on_after_a_refused_change(store: Store) -> None:
    """A refused DELETE leaves nothing behind that is in the way of the next append."""
    append(store, note_draft("n-1", "a"))
    with store.database.engine.connect() as raw, pytest.raises(DBAPIError):
        raw.execute(sa.delete(saga_events))
    append(store, note_draft("n-1", "b", expected_version=1))
    assert [r.version for r in store.log.read("n-1")] == [1, 2]


# ── Exactly as written ───────────────────────────────────────────────────────────────────────────────────


ALIKE_IDS = ("n-a", "n-A", "n-a ", "n-á", "n-ａ")


@pytest.mark.parametrize("other", ALIKE_IDS[1:], ids=["case", "trailing blank", "accent", "width"])
def test_ids_are_compared_byte_for_byte(any_store: AnyStore, other: str) -> None:
    """Ids that look alike, or differ in case or a blank alone, are different streams."""
    append(any_store, note_draft("n-a", "one"))
    append(any_store, note_draft(other, "two"))
    assert [r.event for r in any_store.log.read("n-a")] == [NoteWritten("one")]
    assert [r.event for r in any_store.log.read(other)] == [NoteWritten("two")]
    assert any_store.texts(other) == {other: ['{"text":"two"}']}


TEXTS = {
    "key order": '{"z":1,"a":2,"m":3}',
    "blanks": '{ "a" : 1 ,\n\t"b":[ ] }',
    "repeated key": '{"a":1,"a":2}',
    "unicode": '{"text":"Zażółć ☃ 𝄞 👩‍🚀 \u2028"}',
    "big integers": '{"n":123456789012345678901234567890,"m":-9007199254740993}',
    "numbers as spelt": '{"n":1.10,"m":1e400,"k":-0.0}',
    "escapes": r'{"text":"\u00e9 \"quoted\" back\\slash \/ \n\t\b %s %(x)s :name ?"}',
    "escaped NUL": r'{"text":"before\u0000after"}',
    "large": '{"text":"' + "x" * 200_000 + '"}',
}


def test_json_text_comes_back_exactly_as_written(any_store: AnyStore) -> None:
    """No store reorders, normalises, re-escapes or cuts the JSON it keeps."""
    prepared = [any_store.writer.prepare(note_draft(name, "")) for name in TEXTS]
    batch = [altered(its, data=TEXTS[its.draft.stream_id]) for its in prepared]
    for _ in range(2):  # the hash of what stands there is the hash of what was written
        assert any_store.writer.write(batch) == [Written()] * len(TEXTS)
    assert any_store.texts(*TEXTS) == {name: [text] for name, text in TEXTS.items()}


def test_an_event_comes_back_as_it_was(any_store: AnyStore) -> None:
    """Encoded, stored, read and decoded, an event equals the one that was appended."""
    draft = note_draft("n-1", "plain", "a\0b", "☃𝄞", {"b": 1, "a": [None, True, 2**53 + 1]}, 0.1, "")
    append(any_store, draft)
    assert tuple(r.event for r in any_store.log.read("n-1")) == draft.events


INSTANTS = {
    "leap day": AT,
    "hour that summer time skips": datetime(2024, 3, 31, 2, 30, 0, 1, tzinfo=UTC),
    "last microsecond": datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "no microseconds": datetime(2024, 7, 1, tzinfo=UTC),
    "another zone": datetime(2024, 7, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5.5))),
}


def test_an_instant_comes_back_to_the_microsecond_in_utc(any_store: AnyStore) -> None:
    """`recorded_at` is the same instant, aware, in UTC."""
    append(any_store, *(Draft(name, NOTE, 0, (NoteErased(),), at) for name, at in INSTANTS.items()))
    found = {name: entry.recorded_at for name, (entry,) in any_store.log.entries_of(list(INSTANTS)).items()}
    assert found == INSTANTS
    assert {at.utcoffset() for at in found.values()} == {timedelta(0)}


# ── Reading the whole log ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def long_log(store: Store) -> Store:
    """Twenty-five events: five streams of five, interleaved; the last stream of another category."""
    for version in range(5):
        append(store, *(note_draft(f"n-{n}", f"{n}.{version}", expected_version=version) for n in range(4)))
        append(store, Draft("o-1", "other", version, (NoteErased(),), AT))
    return store


def pages(store: Store, stream_id: str | None, limit: int) -> Iterator[list[Entry]]:
    position = 0
    while page := store.log.entries(stream_id, after_position=position, limit=limit):
        yield page
        position = page[-1].position


def test_the_log_is_paged_in_the_order_of_positions(long_log: Store) -> None:
    """Pages of any size, one after the other, are the whole log: each entry once, positions growing."""
    whole = long_log.log.entries()
    positions = [entry.position for entry in whole]
    assert len(whole) == 25
    assert positions == sorted(set(positions))
    for limit in (1, 4, 25, 26):
        assert [entry for page in pages(long_log, None, limit) for entry in page] == whole


def test_the_order_of_positions_is_the_order_of_appends(long_log: Store) -> None:
    """What was appended later stands later, within a batch too."""
    texts = [long_log.log.decode(entry).event.text for entry in long_log.log.entries() if entry.category == NOTE]
    assert texts == [f"{n}.{version}" for version in range(5) for n in range(4)]


def test_one_stream_is_paged_on_its_own(long_log: Store) -> None:
    """The entries of a stream come in pages too, and are those that `entries_of` gives."""
    paged = [entry for page in pages(long_log, "n-2", 2) for entry in page]
    assert paged == long_log.log.entries_of(["n-2"])["n-2"]
    assert [entry.version for entry in paged] == [1, 2, 3, 4, 5]


def test_the_log_is_read_on_from_a_position_and_not_too_much_of_it(long_log: Store) -> None:
    """What comes behind a position, at most so many rows; and no more once their JSON is large enough."""
    whole = long_log.log.entries()
    with long_log.database.reading() as connection:
        assert long_log.log.after(connection, 0, 7) == whole[:7]
        assert long_log.log.after(connection, whole[6].position, 1000) == whole[7:]
        assert long_log.log.after(connection, whole[-1].position, 7) == []
    store_many(long_log)
    with long_log.database.reading() as connection:
        assert len(long_log.log.after(connection, 0, 1000, most_bytes=10)) == ROWS_AT_ONCE


def store_many(store: Store) -> None:
    store.write(*(note_draft(f"many-{number}", "x") for number in range(2 * ROWS_AT_ONCE)))


def test_an_entry_can_be_read_whose_event_is_unknown(long_log: Store) -> None:
    """Entries are never decoded, so the log can be shown also where an event cannot be."""
    assert {entry.type for entry in long_log.log.entries("o-1")} == {"NoteErased"}
