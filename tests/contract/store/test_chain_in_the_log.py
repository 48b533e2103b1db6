"""Every event that is appended, in whatever way, carries on the hash chain of its stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.core import events as e
from saga_es.errors import StoreUnavailable, VersionConflict
from saga_es.store.database import Database
from saga_es.store.drivers.writes import Write
from saga_es.store.log.chain import event_hash, genesis
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Conflict, Written
from tests.conftest import AT, Store, note_draft


def broken(store: Store) -> list[str]:
    """Where the chain of the log does not hold."""
    found, previous = [], ""
    streams = {entry.stream_id for entry in store.log.entries()}
    for entries in store.log.entries_of(sorted(streams)).values():
        for entry in entries:
            before = genesis(entry.stream_id) if entry.version == 1 else previous
            previous = event_hash(
                before,
                entry.stream_id,
                entry.category,
                entry.version,
                entry.type,
                entry.schema,
                entry.text,
                entry.recorded_at,
            )
            found += [f"{entry.stream_id}@{entry.version}"] if previous != entry.hash else []
    return found


@pytest.fixture
def callers(store: Store) -> Iterator[sa.Engine]:
    """An engine of somebody else's on the same database."""
    engine = sa.create_engine(store.database.url)
    yield engine
    engine.dispose()


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def asked_for_heads(sent: list[str]) -> int:
    return sum("hash" in statement and statement.lstrip().startswith("SELECT") for statement in sent)


def test_batches_over_many_streams_are_chained(store: Store) -> None:
    """Streams that begin, streams that go on, by this writer and by another that knows nothing: one chain each."""
    store.write(note_draft("n-1", "a", "b"), note_draft("n-2", "c"), note_draft("n-3", "☃", {"x": [1.5, None]}))
    store.write(note_draft("n-2", "d", "e", expected_version=1), note_draft("n-4", "f"))
    another = Store.at(store.database)
    another.write(note_draft("n-1", "g", expected_version=2), note_draft("n-2", "h", expected_version=3))
    store.write(note_draft("n-1", "i", expected_version=3), note_draft("n-3", "j", expected_version=1))
    assert len(store.log.entries()) == 11
    assert broken(store) == []


def test_a_running_saga_costs_no_question(store: Store) -> None:
    """What a writer appended to itself it remembers; all that others appended to is asked for in one go."""
    store.write(note_draft("n-1", "a"), note_draft("n-2", "b"), note_draft("n-3", "c"))
    with statements(store.database) as sent:
        for version in range(1, 4):
            store.write(
                note_draft("n-1", "x", expected_version=version),
                note_draft("n-9", "y") if version == 1 else note_draft("n-9", "y", expected_version=version - 1),
            )
    assert asked_for_heads(sent) == 0
    with statements(store.database) as sent:
        Store.at(store.database).write(
            *(note_draft(f"n-{n}", "z", expected_version=v) for n, v in ((1, 4), (2, 1), (3, 1)))
        )
    assert asked_for_heads(sent) == 1
    assert broken(store) == []


def test_of_a_saga_that_has_ended_nothing_is_remembered(store: Store) -> None:
    """Nobody appends to it again, or hardly ever: then the log is asked."""
    events = (e.SagaStarted("trip", "plan-1", {}, "w-1"), e.StepStarted("car", 1))
    store.write(Draft("s-1", SAGA, 0, events, AT))
    assert store.writer._heads.get("s-1") is not None
    store.write(Draft("s-1", SAGA, 2, (e.SagaCompleted(),), AT))
    assert store.writer._heads.get("s-1") is None
    assert broken(store) == []


def test_conflicts_leave_the_others_chained(store: Store) -> None:
    """Each draft that is isolated from a batch with a conflict is chained to what really stands before it."""
    store.write(note_draft("n-1", "a"), note_draft("n-2", "a"), note_draft("n-3", "a"))
    Store.at(store.database).write(note_draft("n-2", "by another", expected_version=1))
    batch = [note_draft(f"n-{n}", "b", "c", expected_version=1) for n in (1, 2, 3)]
    assert store.write(*batch) == [Written(), Conflict(), Written()]
    assert store.write(note_draft("n-2", "d", expected_version=2), note_draft("n-3", "d", expected_version=3)) == [
        Written(),
        Written(),
    ]
    assert broken(store) == []


def test_an_append_beyond_the_end_is_a_conflict(store: Store) -> None:
    """The log takes no gaps: what should stand before the draft does not."""
    store.write(note_draft("n-1", "a"))
    assert store.write(note_draft("n-1", "c", expected_version=2), note_draft("n-2", "b")) == [Conflict(), Written()]
    assert store.write(note_draft("n-1", "b", expected_version=1)) == [Written()]
    assert broken(store) == []


# ── Transactions that do not end as one thinks ───────────────────────────────────────────────────────────


def test_what_a_callers_transaction_appends_is_chained_and_what_it_takes_back_forgotten(
    store: Store, callers: sa.Engine
) -> None:
    """Also when the same version is appended again, otherwise, after the first was rolled back."""
    first, second = (store.writer.prepare(note_draft("n-1", text)) for text in ("taken back", "kept"))
    with callers.connect() as connection:
        store.writer.write_within(connection, first)
        connection.rollback()
    assert store.writer._heads.get("n-1") is None
    with callers.connect() as connection:
        store.writer.write_within(connection, second)
        connection.commit()
    store.write(note_draft("n-1", "on", expected_version=1))
    assert broken(store) == []


def test_a_callers_transaction_goes_on_after_a_gap(store: Store, callers: sa.Engine) -> None:
    """It is told, and what it did itself still holds."""
    with callers.connect() as connection:
        store.writer.write_within(connection, store.writer.prepare(note_draft("n-1", "a")))
        with pytest.raises(VersionConflict):
            store.writer.write_within(connection, store.writer.prepare(note_draft("n-2", "x", expected_version=4)))
        store.writer.write_within(connection, store.writer.prepare(note_draft("n-1", "b", expected_version=1)))
        connection.commit()
    assert [entry.version for entry in store.log.entries("n-1")] == [1, 2]
    assert broken(store) == []


class UnluckyDatabase(Database):
    """Fails at the next commit: before it, or after it."""

    fails: str | None = None

    def transact(self, writes: Sequence[Write]) -> None:
        """A transaction whose answer may be lost."""
        fails, self.fails = self.fails, None
        if fails == "before":
            raise StoreUnavailable("the commit was lost")
        super().transact(writes)
        if fails == "after":
            raise StoreUnavailable("the answer was lost")


@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_batch_that_is_written_again_is_chained_once(store: Store, database_url: str, fails: str) -> None:
    """Whether its commit was lost or only the answer: the second time finds its own rows, or writes the very same."""
    unlucky = UnluckyDatabase(database_url)
    writing = Store.at(unlucky)
    writing.write(note_draft("n-1", "a"))
    batch = [writing.writer.prepare(d) for d in (note_draft("n-1", "b", expected_version=1), note_draft("n-2", "c"))]
    unlucky.fails = fails
    with pytest.raises(StoreUnavailable):
        writing.writer.write(batch)
    assert len(writing.writer._heads) == 0  # the database that comes back may lack what was thought to be there
    assert writing.writer.write(batch) == [Written(), Written()]
    writing.write(note_draft("n-1", "d", expected_version=2), note_draft("n-2", "e", expected_version=1))
    unlucky.close()
    assert [(at.stream_id, at.version) for at in store.log.entries()][1:] == [
        ("n-1", 2),
        ("n-2", 1),
        ("n-1", 3),
        ("n-2", 2),
    ]
    assert broken(store) == []
