"""Group commit: a batch is one transaction, each draft is all or none, and one bad draft harms no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.errors import PayloadTooLarge, PayloadUnencodable, SagaError, StoreUnavailable
from saga_es.runtime.ids import new_id
from saga_es.store.database import Database
from saga_es.store.drivers.columns import key_text
from saga_es.store.drivers.connection import DriverConnection
from saga_es.store.drivers.writes import Write
from saga_es.store.log.codec import SAGA
from saga_es.store.log.log import Draft, Recorded
from saga_es.store.views.kinds import View, Views
from saga_es.store.views.saga_view import sagas
from saga_es.store.writer import Conflict, Receipt, Refused, Writer, Written
from tests.conftest import AT, NOTE, NoteErased, NoteWritten, Store, note_draft

STARTED = (e.SagaStarted("trip", "plan-1", {}, "worker-1"), e.StepStarted("car", 1))


def texts(store: Store) -> dict[str, list[str]]:
    """What stands in the log, by stream."""
    streams: dict[str, list[str]] = {}
    for entry in store.log.entries():
        streams.setdefault(entry.stream_id, []).append(entry.text)
    return streams


def text(value: object) -> str:
    return f'{{"text":"{value}"}}'


# ── Conflicts ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_without_conflict_is_written(store: Store) -> None:
    """Every draft of the batch is Written, in the order in which it was given."""
    receipts = store.write(note_draft("n-1", "a", "b"), note_draft("n-2", "c"))
    assert receipts == [Written(), Written()]
    assert texts(store) == {"n-1": [text("a"), text("b")], "n-2": [text("c")]}


def test_a_conflict_is_isolated_to_its_stream(store: Store) -> None:
    """Of a batch with one conflict the others are Written, each receipt in its draft's place."""
    store.write(note_draft("n-2", "first"))
    receipts = store.write(note_draft("n-1", "a"), note_draft("n-2", "late", "later"), note_draft("n-3", "c"))
    assert receipts == [Written(), Conflict(), Written()]
    assert texts(store) == {"n-2": [text("first")], "n-1": [text("a")], "n-3": [text("c")]}


def test_a_draft_in_conflict_is_refused_whole(store: Store) -> None:
    """When a later one of its versions is free, still nothing of the draft is written."""
    store.write(note_draft("n-1", "first"))
    assert store.write(note_draft("n-1", "late", "would be version 2")) == [Conflict()]
    assert texts(store) == {"n-1": [text("first")]}


def test_the_same_words_of_somebody_else_are_a_conflict(store: Store) -> None:
    """A draft that differs from what stands there in its instant alone was written by another."""
    draft = note_draft("n-1", "a")
    store.write(draft)
    twin = Draft("n-1", NOTE, 0, draft.events, AT.replace(microsecond=AT.microsecond + 1))
    assert store.write(twin) == [Conflict()]


# ── Lost answers ─────────────────────────────────────────────────────────────────────────────────────────


class ForgetfulDatabase(Database):
    """Commits, and then loses the answer, so many times."""

    losses = 0
    transactions = 0

    def transact(self, writes: Sequence[Write]) -> None:
        """A transaction that really takes place."""
        self.transactions += 1
        super().transact(writes)
        if self.losses > 0:
            self.losses -= 1
            raise StoreUnavailable("the answer to the commit was lost")


@pytest.fixture
def forgetful(store: Store, database_url: str) -> Iterator[ForgetfulDatabase]:
    """The same database as the store's, over an unlucky line."""
    del store  # asked for because it migrates
    database = ForgetfulDatabase(database_url)
    yield database
    database.close()


def test_a_draft_written_again_after_a_lost_answer_is_written_once(forgetful: ForgetfulDatabase) -> None:
    """The commit took place, its answer was lost: writing the same batch again says Written and adds nothing."""
    store = Store.at(forgetful)
    batch = [store.writer.prepare(d) for d in (note_draft("n-1", "a", "b"), Draft("s-1", SAGA, 0, STARTED, AT))]
    forgetful.losses = 1
    with pytest.raises(StoreUnavailable):
        store.writer.write(batch)
    assert store.writer.write(batch) == [Written(), Written()]
    assert texts(store)["n-1"] == [text("a"), text("b")]
    assert [r.version for r in store.log.read("s-1")] == [1, 2]


def test_the_answer_may_be_lost_again_and_again(forgetful: ForgetfulDatabase) -> None:
    """A batch whose drafts are settled one by one, each with a lost answer, still is written once."""
    store = Store.at(forgetful)
    store.write(note_draft("n-2", "taken"))
    batch = [store.writer.prepare(note_draft(name, "mine")) for name in ("n-1", "n-2", "n-3")]
    forgetful.losses = 2
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.writer.write(batch)
    assert store.writer.write(batch) == [Written(), Conflict(), Written()]
    assert texts(store) == {"n-2": [text("taken")], "n-1": [text("mine")], "n-3": [text("mine")]}


def test_a_draft_is_known_as_ours_after_others_went_on(forgetful: ForgetfulDatabase) -> None:
    """Between the lost answer and the second writing somebody appended: ours is Written all the same."""
    store = Store.at(forgetful)
    batch = [store.writer.prepare(note_draft("n-1", "a"))]
    forgetful.losses = 1
    with pytest.raises(StoreUnavailable):
        store.writer.write(batch)
    store.write(note_draft("n-1", "by another", expected_version=1))
    assert store.writer.write(batch) == [Written()]
    assert texts(store) == {"n-1": [text("a"), text("by another")]}


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────

cards = sa.Table(
    "cards",
    sa.MetaData(),
    sa.Column("note_id", key_text(64), primary_key=True),
    sa.Column("colour", sa.String(8), sa.CheckConstraint("length(colour) < 9"), nullable=False),
    sa.Column("updated_at", sa.Integer, nullable=True),
)


def _card(recorded: Recorded) -> dict[str, object] | None:
    match recorded.event:
        case NoteWritten("left out"):
            return {"updated_at": 1}  # a fault of the view: the row lacks its colour
        case NoteWritten("unknown to the view"):
            raise KeyError("unknown to the view")
        case NoteWritten(colour):
            return {"colour": colour}
        case _:
            return None


@pytest.fixture
def card_writer(store: Store) -> Writer:
    """A writer with a view whose columns are narrow."""
    views = Views([View(cards, NOTE, _card)])
    store.make(*views)
    return Writer(store.database, store.log, views)


def write_cards(store: Store, writer: Writer, *colours: object) -> list[type]:
    drafts = [note_draft(f"n-{place}", colour) for place, colour in enumerate(colours)]
    return [type(receipt) for receipt in writer.write([store.writer.prepare(draft) for draft in drafts])]


def rows_of(store: Store, table: sa.Table) -> list[tuple[object, ...]]:
    with store.database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]


@pytest.mark.parametrize(
    "bad",
    ["ultramarine", None, "left out", {"a": 1}, "unknown to the view"],
    ids=["too long", "null", "left out", "no text", "a view that fails"],
)
def test_a_draft_the_database_never_takes_does_not_hurt_the_others(
    store: Store, card_writer: Writer, bad: object
) -> None:
    """One draft's row does not fit its view: it alone is Refused, of it nothing is written, the others stand."""
    assert write_cards(store, card_writer, "red", bad, "blue") == [Written, Refused, Written]
    assert list(texts(store)) == ["n-0", "n-2"]
    assert rows_of(store, cards) == [("n-0", "red", None), ("n-2", "blue", None)]


def with_neighbours(store: Store, stream_id: str) -> list[type]:
    """The receipts of a batch whose second of three drafts is for this stream; an error at preparing is a refusal."""
    good = [store.writer.prepare(note_draft(name, "x")) for name in ("n-1", "n-3")]
    try:
        bad = store.writer.prepare(note_draft(stream_id, "x"))
    except (SagaError, ValueError):
        first, last = store.writer.write(good)
        return [type(first), Refused, type(last)]
    return [type(receipt) for receipt in store.writer.write([good[0], bad, good[1]])]


def test_a_stream_id_that_is_too_long_is_refused_everywhere(store: Store) -> None:
    """65 characters are more than the log takes, on each database, and the rest of the batch is written."""
    assert with_neighbours(store, "n" * 65) == [Written, Refused, Written]
    assert list(texts(store)) == ["n-1", "n-3"]


@pytest.mark.parametrize("stream_id", ["n-\ud800", "n-\0"], ids=["surrogate", "NUL"])
def test_a_stream_id_that_is_no_text_hurts_nobody_else(store: Store, stream_id: str) -> None:
    """An id that has no UTF-8 form, or holds NUL, is refused on its own, if not taken as it is."""
    first, _, last = with_neighbours(store, stream_id)
    assert first is last is Written
    assert {"n-1", "n-3"} <= set(texts(store)) <= {"n-1", "n-3", stream_id}


def test_what_cannot_be_encoded_fails_before_any_batch(store: Store) -> None:
    """An event too large, or without a JSON form, is refused while it is prepared."""
    with pytest.raises(PayloadTooLarge):
        store.writer.prepare(note_draft("n-1", "x" * 2_000_000))
    with pytest.raises(PayloadUnencodable):
        store.writer.prepare(note_draft("n-1", object()))


def test_one_bad_draft_costs_few_transactions(forgetful: ForgetfulDatabase) -> None:
    """A batch that fails is halved until the bad draft is alone: who wrote each by itself would be busy for a lease."""
    store = Store.at(forgetful)
    store.write(note_draft("n-77", "taken"))
    forgetful.transactions = 0
    receipts = store.write(*(note_draft(f"n-{n}", "mine") for n in range(256)))
    assert receipts == [Conflict() if n == 77 else Written() for n in range(256)]
    assert forgetful.transactions == 1 + 2 * 8
    assert len(store.log.entries()) == 256


def test_a_batch_whose_answer_was_lost_is_found_as_a_whole(forgetful: ForgetfulDatabase) -> None:
    """Each of its drafts stands there, and none is written again, or looked for, by itself."""
    store = Store.at(forgetful)
    batch = [store.writer.prepare(note_draft(f"n-{n}", "a", "b")) for n in range(256)]
    forgetful.losses = 1
    with pytest.raises(StoreUnavailable):
        store.writer.write(batch)
    assert store.writer.write(batch) == [Written()] * 256
    assert forgetful.transactions == 2


BAD: dict[str, type[Receipt]] = {"taken": Conflict, "too early": Conflict, "ultramarine": Refused, "red": Written}


@pytest.mark.parametrize(
    "database_url", ["sqlite"], indirect=True
)  # what others make of each kind, the tests above see
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from([*BAD, "red", "red"]), max_size=20))
def test_whatever_is_bad_in_a_batch_gets_its_receipt_and_the_others_are_written(
    store: Store, card_writer: Writer, kinds: list[str]
) -> None:
    """Any of them may be in conflict or be refused: the receipts are in the order of the drafts, and the log agrees."""
    batch = new_id()
    names = [f"{batch}-{place}" for place in range(len(kinds))]
    store.write(*(note_draft(name, "first") for name, kind in zip(names, kinds, strict=True) if kind == "taken"))
    before = len(store.log.entries())
    drafts = [
        note_draft(name, kind, expected_version=4 if kind == "too early" else 0)
        for name, kind in zip(names, kinds, strict=True)
    ]
    receipts = card_writer.write([store.writer.prepare(draft) for draft in drafts])
    assert [type(receipt) for receipt in receipts] == [BAD[kind] for kind in kinds]
    written = [entry.stream_id for entry in store.log.entries()[before:]]
    assert written == [name for name, kind in zip(names, kinds, strict=True) if kind == "red"]


# ── All or nothing ───────────────────────────────────────────────────────────────────────────────────────


class BreakingDatabase(Database):
    """Breaks for real in the middle of a transaction: the server ends the session, or the disk is full."""

    breaks = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._direct = _Breaking(self)

    def fill(self, driver: Any) -> None:
        """Let the disk be as full as it is now; or no more."""
        if self.driver.name == "sqlite":
            (pages,) = driver.execute("PRAGMA page_count").fetchone()
            driver.execute(f"PRAGMA max_page_count = {pages if self.breaks else 1073741823}")

    def end(self, driver: Any) -> None:
        """Have the server end a session."""
        asked, order = {
            "sqlite": ("SELECT 1", "SELECT {}"),
            "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
            "mysql": ("SELECT connection_id()", "KILL {}"),
        }[self.driver.name]
        cursor = driver.cursor()
        cursor.execute(asked)
        (session,) = cursor.fetchone()
        with self.engine.connect() as other:
            other.exec_driver_sql(order.format(session))


class _Breaking(DriverConnection):
    """On PostgreSQL all is one statement: there the session ends before it, elsewhere before the commit."""

    def __init__(self, database: BreakingDatabase) -> None:
        super().__init__(database.engine)
        self._database = database

    def _connected(self) -> Any:
        driver = super()._connected()
        self._database.fill(driver)
        if self._database.breaks and self._database.driver.name == "postgresql":
            self._database.end(driver)
        return driver

    def _execute(self, driver: Any, writes: Sequence[Write]) -> None:
        super()._execute(driver, writes)
        if self._database.breaks:
            self._database.end(driver)


def test_a_database_that_breaks_in_mid_transaction_leaves_nothing(store: Store, database_url: str) -> None:
    """The rows and the views were sent but not committed: StoreUnavailable, and no trace; later, all is written."""
    database = BreakingDatabase(database_url)
    broken = Store.at(database)
    large = [note_draft(f"n-{n}", "x" * 20_000) for n in range(50)]
    batch = [store.writer.prepare(draft) for draft in (Draft("s-1", SAGA, 0, STARTED, AT), *large)]
    try:
        database.breaks = True
        with pytest.raises(StoreUnavailable):
            broken.writer.write(batch)
        assert store.log.entries() == []
        assert rows_of(store, sagas) == []
        database.breaks = False
        assert broken.writer.write(batch) == [Written()] * 51
    finally:
        database.close()
    assert len(store.log.entries()) == 52


class _OutOfOrderError(Exception):
    """What a view's own code raises."""


def _raises(recorded: Recorded) -> dict[str, object]:
    if recorded.version == 2:
        raise _OutOfOrderError
    return {"colour": "red"}


def test_views_and_log_change_in_one_transaction(store: Store) -> None:
    """A draft whose view cannot be brought up to date is not appended at all; its neighbour is, with its row."""
    views = Views([View(sagas, SAGA, lambda _: {}), View(cards, NOTE, _raises)])
    store.make(*views)
    writer = Writer(store.database, store.log, views)
    writer.write([store.writer.prepare(note_draft("n-1", "a"))])
    batch = [store.writer.prepare(note_draft("n-2", "b")), store.writer.prepare(note_draft("n-3", "c", "d"))]
    assert [type(receipt) for receipt in writer.write(batch)] == [Written, Refused]
    assert list(texts(store)) == ["n-1", "n-2"]
    assert rows_of(store, cards) == [("n-1", "red", None), ("n-2", "red", None)]


def test_readers_see_an_event_and_its_view_together(store: Store) -> None:
    """Before the commit another connection sees neither; after it, both."""
    draft = Draft("s-1", SAGA, 0, STARTED, AT)
    with store.database.writing() as connection:
        store.log.append(connection, store.log.rows(draft))
        store.views.apply(connection, draft.recorded())
        assert (store.log.entries(), rows_of(store, sagas)) == ([], [])
    assert len(store.log.entries()) == 2
    assert [row[:4] for row in rows_of(store, sagas)] == [("s-1", "trip", "plan-1", "IN_PROGRESS")]


def test_a_conflict_leaves_the_views_alone(store: Store) -> None:
    """A saga's row tells what is in the log, not what somebody failed to append."""
    store.write(Draft("s-1", SAGA, 0, STARTED, AT))
    before = rows_of(store, sagas)
    late = Draft("s-1", SAGA, 1, (e.SagaCompleted(),), AT)
    assert store.write(late, Draft("n-1", NOTE, 0, (NoteErased(),), AT)) == [Conflict(), Written()]
    assert rows_of(store, sagas) == before
