"""Group commit: a batch is one transaction, each draft is all or none, and one bad draft harms no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.errors import NothingToAppend, PayloadTooLarge, PayloadUnencodable, SagaError, StoreUnavailable
from saga_es.runtime.ids import new_id
from saga_es.store.database import Database
from saga_es.store.drivers.writes import Write
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.ports import Conflict, Receipt, Refused, Written
from saga_es.store.views.kinds import View, Views
from saga_es.store.views.saga_view import sagas
from saga_es.store.writer import Writer
from tests.conftest import AT, NOTE, NoteErased, Store, note_draft
from tests.support.any_store import AnyStore
from tests.support.cards import cards, rows_of, texts

STARTED = (e.SagaStarted("trip", "plan-1", {}, "worker-1"), e.StepStarted("car", 1))
NAMES = ("n-1", "n-2", "n-3")


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
    for error, bad in ((PayloadTooLarge, ["x" * 2_000_000]), (PayloadUnencodable, [object()]), (NothingToAppend, [])):
        with pytest.raises(error):
            any_store.writer.prepare(note_draft("n-1", *bad))


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
