"""Group commit: a batch is one transaction, each draft is all or none, and one bad draft harms no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from saga_es.core import events as e
from saga_es.errors import NothingToAppend, PayloadTooLarge, PayloadUnencodable, SagaError, StoreUnavailable
from saga_es.runtime.ids import new_id
from saga_es.store.database import Database
from saga_es.store.drivers import timeouts
from saga_es.store.drivers.columns import key_text
from saga_es.store.drivers.writes import Write
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.log.log import Log
from saga_es.store.ports import Conflict, Receipt, Refused, Written
from saga_es.store.views import checkpoints
from saga_es.store.views.checkpoints import Failed
from saga_es.store.views.kinds import View, Views
from saga_es.store.views.saga_view import saga_view, sagas
from saga_es.store.views.tags import saga_tags, tag_view
from saga_es.store.writer import Writer
from tests.conftest import AT, NOTE, NoteErased, NoteWritten, Store, note_draft
from tests.support.any_store import AnyStore
from tests.support.troubles import by_hand

STARTED = (e.SagaStarted("trip", "plan-1", {}, "worker-1"), e.StepStarted("car", 1))
NAMES = ("n-1", "n-2", "n-3")


def texts(store: Store) -> dict[str, list[str]]:
    """What stands in the log, by stream."""
    streams: dict[str, list[str]] = {}
    for entry in store.log.entries():
        streams.setdefault(entry.stream_id, []).append(entry.text)
    return streams


def text(value: object) -> str:
    return f'{{"text":"{value}"}}'


# ── Conflicts ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_without_conflict_is_written(any_store: AnyStore) -> None:
    """Every draft of the batch is Written, in the order in which it was given."""
    receipts = any_store.write(note_draft("n-1", "a", "b"), note_draft("n-2", "c"))
    assert receipts == [Written(), Written()]
    assert any_store.texts("n-1", "n-2") == {"n-1": [text("a"), text("b")], "n-2": [text("c")]}


def test_a_batch_of_nothing_is_nothing(any_store: AnyStore) -> None:
    """No drafts, no receipts."""
    assert any_store.writer.write([]) == []


def test_a_conflict_is_isolated_to_its_stream(any_store: AnyStore) -> None:
    """Of a batch with one conflict the others are Written, each receipt in its draft's place."""
    any_store.write(note_draft("n-2", "first"))
    receipts = any_store.write(note_draft("n-1", "a"), note_draft("n-2", "late", "later"), note_draft("n-3", "c"))
    assert receipts == [Written(), Conflict(), Written()]
    assert any_store.texts(*NAMES) == {"n-1": [text("a")], "n-2": [text("first")], "n-3": [text("c")]}


def test_a_draft_in_conflict_is_refused_whole(any_store: AnyStore) -> None:
    """When a later one of its versions is free, still nothing of the draft is written."""
    any_store.write(note_draft("n-1", "first"))
    assert any_store.write(note_draft("n-1", "late", "would be version 2")) == [Conflict()]
    assert any_store.texts("n-1") == {"n-1": [text("first")]}


def test_a_draft_that_leaves_a_gap_is_a_conflict(any_store: AnyStore) -> None:
    """A stream that is not as far as was expected, or is none at all; the neighbours are Written."""
    any_store.write(note_draft("n-1", "first"))
    drafts = (note_draft("n-1", "x", expected_version=2), note_draft("n-2", "y", expected_version=1))
    assert any_store.write(*drafts, note_draft("n-3", "c")) == [Conflict(), Conflict(), Written()]
    assert any_store.texts(*NAMES) == {"n-1": [text("first")], "n-3": [text("c")]}


def test_the_same_words_of_somebody_else_are_a_conflict(any_store: AnyStore) -> None:
    """A draft that differs from what stands there in its instant alone was written by another."""
    draft = note_draft("n-1", "a")
    any_store.write(draft)
    twin = Draft("n-1", NOTE, 0, draft.events, AT.replace(microsecond=AT.microsecond + 1))
    assert any_store.write(twin) == [Conflict()]


def test_more_than_what_stands_there_is_a_conflict(any_store: AnyStore) -> None:
    """A draft whose first event is there and whose second is not was never written: a draft is all or none."""
    any_store.write(note_draft("n-1", "a"))
    assert any_store.write(note_draft("n-1", "a", "b")) == [Conflict()]
    assert any_store.texts("n-1") == {"n-1": [text("a")]}


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


def test_a_draft_written_again_after_a_lost_answer_is_written_once(any_store: AnyStore) -> None:
    """The commit took place, its answer was lost: writing the same batch again says Written and adds nothing."""
    drafts = (note_draft("n-1", "a", "b"), Draft("s-1", SAGA, 0, STARTED, AT))
    batch = [any_store.writer.prepare(draft) for draft in drafts]
    any_store.lose_answers(1)
    with pytest.raises(StoreUnavailable):
        any_store.writer.write(batch)
    for _ in range(2):
        assert any_store.writer.write(batch) == [Written(), Written()]
    assert any_store.texts("n-1") == {"n-1": [text("a"), text("b")]}
    assert [r.version for r in any_store.log.read("s-1")] == [1, 2]


def test_the_answer_may_be_lost_again_and_again(any_store: AnyStore) -> None:
    """A batch whose drafts are settled one by one, each with a lost answer, still is written once."""
    any_store.write(note_draft("n-2", "taken"))
    batch = [any_store.writer.prepare(note_draft(name, "mine")) for name in NAMES]
    any_store.lose_answers(2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            any_store.writer.write(batch)
    assert any_store.writer.write(batch) == [Written(), Conflict(), Written()]
    assert any_store.texts(*NAMES) == {"n-1": [text("mine")], "n-2": [text("taken")], "n-3": [text("mine")]}


def test_a_draft_is_known_as_ours_after_others_went_on(any_store: AnyStore) -> None:
    """Between the lost answer and the second writing somebody appended: ours is Written all the same."""
    batch = [any_store.writer.prepare(note_draft("n-1", "a"))]
    any_store.lose_answers(1)
    with pytest.raises(StoreUnavailable):
        any_store.writer.write(batch)
    any_store.write(note_draft("n-1", "by another", expected_version=1))
    assert any_store.writer.write(batch) == [Written()]
    assert any_store.texts("n-1") == {"n-1": [text("a"), text("by another")]}


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


BAD_COLOURS = {
    "too long": "ultramarine",
    "null": None,
    "left out": "left out",
    "no text": {"a": 1},
    "a view that fails": "unknown to the view",
}


@pytest.mark.parametrize("bad", BAD_COLOURS.values(), ids=BAD_COLOURS)
def test_a_view_that_refuses_an_event_is_behind_and_the_event_is_in_the_log(
    store: Store, card_writer: Writer, bad: object
) -> None:
    """All drafts are written; the view says which event it lacks first and why, and takes up no more."""
    told: list[int] = []
    card_writer.when_behind = lambda: told.append(1)
    assert write_cards(store, card_writer, "red", bad, "blue") == [Written, Written, Written]
    assert list(texts(store)) == ["n-0", "n-1", "n-2"]
    assert rows_of(store, cards) == [("n-0", "red", None)]
    (failed,) = marks(store).values()
    assert (failed.position, failed.type, failed.stream_id) == (
        store.log.entries("n-1")[0].position,
        "NoteWritten",
        "n-1",
    )
    assert failed.error
    assert told
    assert write_cards_again(store, card_writer) == [Written]
    assert marks(store) == {"cards": failed}


def test_a_replay_brings_a_view_that_is_behind_back(store: Store, card_writer: Writer) -> None:
    """It clears the mark, and the next event is applied inline again, by the same writer."""
    write_cards(store, card_writer, "red", "ultramarine")
    better = View(cards, NOTE, lambda r: {"colour": r.event.text[:8]})
    store.make(better)
    assert marks(store) == {}
    assert rows_of(store, cards) == [("n-0", "red", None), ("n-1", "ultramar", None)]
    assert write_cards_again(store, card_writer) == [Written]
    assert rows_of(store, cards)[-1] == ("n-9", "green", None)


def test_the_other_views_do_not_notice(store: Store) -> None:
    """A view that refuses is undone alone, also in the caller's own transaction."""
    views = Views([View(cards, NOTE, _card), tag_view, saga_view])
    store.make(*views)
    writer = Writer(store.database, store.log, views)
    started = Draft("s-1", SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, None, {"who": "ann"}),), AT)
    receipts = writer.write([writer.prepare(draft) for draft in (note_draft("n-1", "ultramarine"), started)])
    assert receipts == [Written(), Written()]
    assert len(rows_of(store, sagas)) == len(rows_of(store, saga_tags)) == 1
    store.make(View(cards, NOTE, lambda _: {"colour": "red"}))
    with store.database.writing() as connection:
        writer.write_within(connection, writer.prepare(note_draft("n-2", "ultramarine")))
        with pytest.raises(IntegrityError):
            writer.write_within(connection, writer.prepare(note_draft("n-1", "taken")))
    assert list(texts(store)) == ["n-1", "s-1", "n-2"]
    assert marks(store)["cards"].stream_id == "n-2"


ALTERED = {
    "dropped": ("DROP TABLE cards",),
    "renamed": ("ALTER TABLE cards RENAME TO other_cards",),
    "a column gone": ("DROP TABLE cards", "CREATE TABLE cards (note_id VARCHAR(64) PRIMARY KEY)"),
    "another table": ("DROP TABLE cards", "CREATE TABLE cards (a INTEGER)"),
    "an SQL view": ("DROP TABLE cards", "CREATE VIEW cards AS SELECT 1 AS note_id, 2 AS colour, 3 AS updated_at"),
}


@pytest.mark.parametrize("statements", ALTERED.values(), ids=ALTERED)
def test_a_table_that_was_changed_by_hand_stops_no_append(
    store: Store, card_writer: Writer, database_url: str, statements: tuple[str, ...]
) -> None:
    """Of the view's table that is; the log does not notice."""
    with by_hand(database_url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    assert write_cards(store, card_writer, "red", "blue") == [Written, Written]
    assert list(texts(store)) == ["n-0", "n-1"]
    assert marks(store).keys() == {"cards"}
    if "VIEW" in statements[-1]:  # what empties the database expects tables
        with by_hand(database_url) as connection:
            connection.exec_driver_sql("DROP VIEW cards")


@pytest.mark.usefixtures("card_writer")
@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)  # SQLite locks the whole file
def test_a_table_that_is_locked_stops_no_append(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view is waited for once, for as long as for any lock, and then no more."""
    monkeypatch.setattr(timeouts, "LOCK_S", 1)
    hasty = Database(database_url)
    writer = Writer(hasty, Log(hasty, store.codec), Views([View(cards, NOTE, _card)]))
    lock = {"postgresql": "LOCK TABLE cards IN ACCESS EXCLUSIVE MODE", "mysql": "LOCK TABLES cards WRITE"}
    with by_hand(database_url, autocommit=False) as connection:
        connection.exec_driver_sql(lock[store.database.driver.name])
        assert write_cards(store, writer, "red", "blue") == [Written, Written]
        assert write_cards_again(store, writer) == [Written]
    hasty.close()
    assert list(texts(store)) == ["n-0", "n-1", "n-9"]
    assert marks(store).keys() == {"cards"}


def marks(store: Store) -> dict[str, Failed]:
    """Why views are behind, by name."""
    with store.database.reading() as connection:
        found = {name: checkpoint.pending.behind for name, checkpoint in checkpoints.behind(connection).items()}
    return {name: failed for name, failed in found.items() if failed is not None}


def write_cards_again(store: Store, writer: Writer) -> list[type]:
    return [type(receipt) for receipt in writer.write([store.writer.prepare(note_draft("n-9", "green"))])]


NOT_A_STATUS = e.SagaReopened(cast("Any", "NO SUCH STATUS"), "ann", "why not", AT)
"""No row of the view `sagas` can come of it."""


@pytest.mark.parametrize(
    "events", [(*STARTED, NOT_A_STATUS), (e.SagaCompleted(),)], ids=["a view that fails", "no row without a start"]
)
def test_a_saga_that_its_view_does_not_take_is_in_the_log_like_the_others(
    any_store: AnyStore, events: tuple[e.SagaEvent, ...]
) -> None:
    """Nothing of it is written to the view."""
    good = (note_draft("n-1", "a"), note_draft("n-3", "c"))
    receipts = any_store.write(good[0], Draft("s-1", SAGA, 0, events, AT), good[1])
    assert [type(receipt) for receipt in receipts] == [Written, Written, Written]
    assert any_store.texts(*NAMES, "s-1").keys() == {"n-1", "n-3", "s-1"}
    assert any_store.workers.orphans(10, ["trip"]) == {}


def with_neighbours(any_store: AnyStore, stream_id: str) -> list[type]:
    """The receipts of a batch whose second of three drafts is for this stream; an error at preparing is a refusal."""
    good = [any_store.writer.prepare(note_draft(name, "x")) for name in ("n-1", "n-3")]
    try:
        bad = any_store.writer.prepare(note_draft(stream_id, "x"))
    except (SagaError, ValueError):
        first, last = any_store.writer.write(good)
        return [type(first), Refused, type(last)]
    return [type(receipt) for receipt in any_store.writer.write([good[0], bad, good[1]])]


@pytest.mark.parametrize("stream_id", ["n" * 65, "n-\ud800", "n-\0", ""], ids=["long", "surrogate", "NUL", "empty"])
def test_a_stream_id_that_is_none_is_refused_everywhere(any_store: AnyStore, stream_id: str) -> None:
    """65 characters, NUL, or what has no UTF-8 form: no store takes it, and the rest of the batch is written."""
    assert with_neighbours(any_store, stream_id) == [Written, Refused, Written]
    assert any_store.texts(*NAMES, stream_id).keys() == {"n-1", "n-3"}


def test_what_cannot_be_encoded_fails_before_any_batch(any_store: AnyStore) -> None:
    """An event too large, or without a JSON form, is refused while it is prepared; so is a draft of nothing."""
    for error, texts in ((PayloadTooLarge, ["x" * 2_000_000]), (PayloadUnencodable, [object()]), (NothingToAppend, [])):
        with pytest.raises(error):
            any_store.writer.prepare(note_draft("n-1", *texts))


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


BAD: dict[str, type[Receipt]] = {"taken": Conflict, "too early": Conflict, "ultramarine": Written, "red": Written}


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
    assert written == [name for name, kind in zip(names, kinds, strict=True) if BAD[kind] is Written]


# ── All or nothing ───────────────────────────────────────────────────────────────────────────────────────


class _OutOfOrderError(Exception):
    """What a view's own code raises."""


def _raises(recorded: Recorded) -> dict[str, object]:
    if recorded.version == 2:
        raise _OutOfOrderError
    return {"colour": "red"}


def test_views_and_log_change_in_one_transaction(store: Store) -> None:
    """A draft that a view refuses leaves nothing in the view, not even the part that it takes; its neighbour does."""
    views = Views([View(sagas, SAGA, lambda _: {}), View(cards, NOTE, _raises)])
    store.make(*views)
    writer = Writer(store.database, store.log, views)
    writer.write([store.writer.prepare(note_draft("n-1", "a"))])
    batch = [store.writer.prepare(note_draft("n-2", "b")), store.writer.prepare(note_draft("n-3", "c", "d"))]
    assert [type(receipt) for receipt in writer.write(batch)] == [Written, Written]
    assert list(texts(store)) == ["n-1", "n-2", "n-3"]
    assert rows_of(store, cards) == [("n-1", "red", None), ("n-2", "red", None)]


def test_readers_see_an_event_and_its_view_together(store: Store) -> None:
    """Before the commit another connection sees neither; after it, both."""
    draft = Draft("s-1", SAGA, 0, STARTED, AT)
    with store.database.writing() as connection:
        store.write_within(connection, draft)
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
