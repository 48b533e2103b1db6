"""A view equals the fold of the log: after every event, however events were batched, and when made anew."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.plan import Plan, StepPlan, plan_id
from saga_es.store.admin import migrate
from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.ports import Written
from saga_es.store.views.kinds import View, Views
from saga_es.store.views.saga_view import saga_view, sagas
from saga_es.store.writer import Writer
from tests.conftest import AT, NOTE, NoteErased, NoteForbidden, NoteWritten, Store

TRIP = Plan("trip", (StepPlan(name="car", title="Car"), StepPlan(name="hotel", title="Hotel")))


def started(worker: str | None) -> e.SagaStarted:
    return e.SagaStarted("trip", plan_id(TRIP), {"n": 1}, worker)


CAR = (e.StepStarted("car", 1), e.StepCompleted("car", {"id": 1}))
LIVES: dict[str, tuple[e.SagaEvent, ...]] = {
    "completed": (started("w1"), *CAR, e.StepStarted("hotel", 1), e.StepCompleted("hotel"), e.SagaCompleted()),
    "waited for a worker": (started(None), e.SagaTakenOver("w1"), e.SagaBegan(), *CAR, e.StepStarted("hotel", 1)),
    "compensated": (
        started("w1"),
        *CAR,
        e.StepStarted("hotel", 1),
        e.StepFailed("hotel", 1, "rejected", "no bed ☃"),
        e.SagaAborted("hotel", "no bed ☃"),
        e.CompensationStarted("car", 1),
        e.CompensationCompleted("car"),
        e.SagaCompensated(),
    ),
    "tried again, taken over, in doubt, given up": (
        started("w1"),
        e.StepStarted("car", 1),
        e.StepFailed("car", 1, "unknown", "no answer", AT),
        e.SagaTakenOver("w2", "w1"),
        e.StepStarted("car", 2),
        e.StepFailed("car", 2, "unknown", "no answer"),
        e.SagaAborted("car", "no answer"),
        e.CompensationStarted("car", 1),
        e.SagaTakenOver("w3", "w2"),
        e.CompensationFailed("car", 1, "unavailable", "busy", AT),
        e.CompensationStarted("car", 2),
        e.CompensationFailed("car", 2, "rejected", "will not"),
        e.SagaFailed("the compensation of step 'car' was given up"),
    ),
    "waited for its time, paused, cancelled": (
        e.SagaStarted("trip", plan_id(TRIP), {"n": 1}, "w1", {"customer": "7"}, starts_at=AT, parent="s-0"),
        e.SagaBegan(),
        e.SagaPaused("ada", "lunch"),
        e.SagaResumed("ada", "back"),
        e.SagaPaused("ada", "tea"),
        e.SagaCancelled("ada", "enough ☃"),
        e.SagaCompensated(),
    ),
    "opened again, set right by hand": (
        started("w1"),
        *CAR,
        e.SagaFailed("stuck"),
        e.SagaReopened("IN_PROGRESS", "ada", "again", AT),
        e.SagaTakenOver("w2", None),
        e.SagaFailed("stuck again"),
        e.SagaResolved("COMPLETED", "ada", "by hand"),
    ),
    "could not go on": (started("w1"), e.StepStarted("car", 1), e.SagaFailed("the code of step 'car' is gone")),
}


def drafts(stream_id: str, category: str, events: Sequence[object]) -> list[Draft]:
    """One draft for each event, a different instant for each."""
    return [
        Draft(stream_id, category, version, (event,), AT.replace(second=version))
        for version, event in enumerate(events)
    ]


def whole(stream_id: str, category: str, events: Sequence[object]) -> Draft:
    return Draft(stream_id, category, 0, tuple(events), AT)


def rows_of(store: Store, table: sa.Table) -> dict[str, dict[str, Any]]:
    with store.database.reading() as connection:
        rows = connection.execute(sa.select(table)).mappings().all()
    (key,) = table.primary_key.columns
    return {row[key.name]: dict(row) for row in rows}


def folded(store: Store, view: View) -> dict[str, dict[str, Any]]:
    """The rows as the definition of a view has them: the fold of each stream, event by event."""
    rows: dict[str, dict[str, Any]] = {}
    blank: dict[str, Any] = dict.fromkeys(view.table.columns.keys())
    for entry in store.log.entries():
        if entry.category != view.category:
            continue
        change = view.change(store.log.decode(entry))
        if change is None:
            rows.pop(entry.stream_id, None)
        elif entry.version == 1 and change:
            rows[entry.stream_id] = {**blank, view.key.name: entry.stream_id, **change}
        elif entry.stream_id in rows:
            rows[entry.stream_id] |= change
    return rows


# ── Sagas ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def planned(store: Store) -> Store:
    """A store that knows the plan of the trip."""
    store.write(whole(plan_id(TRIP), PLAN, [e.PlanRecorded(TRIP)]))
    return store


def test_the_row_of_a_saga_equals_the_fold_after_every_event(planned: Store) -> None:
    """Through several lives, event by event, the row is the view's fold, and says what the saga's state says."""
    for number, events in enumerate(LIVES.values()):
        for draft in drafts(f"s-{number}", SAGA, events):
            assert planned.write(draft) == [Written()]
            row = rows_of(planned, sagas)[draft.stream_id]
            assert row == {"saga_id": draft.stream_id, **(saga_view.fold(planned.log.read(draft.stream_id)) or {})}
            state = planned.sagas.find(draft.stream_id)
            assert state is not None
            shown = {"name": state.plan.saga, "plan_id": state.plan_id, "status": state.status.value}
            assert {name: row[name] for name in shown} == shown
            assert (row["owner"], row["error"], row["parent"]) == (state.owner, state.error, state.parent)
            assert row["paused"] is (state.paused is not None)
            assert (row["created_at"], row["updated_at"]) == (AT.replace(second=0), draft.recorded_at)


def test_it_does_not_matter_how_the_events_were_batched(planned: Store) -> None:
    """Whole lives in one batch leave the rows that the same events leave one by one."""
    planned.write(*(whole(f"whole-{life}", SAGA, events) for life, events in enumerate(LIVES.values())))
    for life, events in enumerate(LIVES.values()):
        for draft in drafts(f"single-{life}", SAGA, events):
            planned.write(draft)
    rows = rows_of(planned, sagas)
    apart = {"saga_id", "created_at", "updated_at"}
    for life in range(len(LIVES)):
        one, other = rows[f"whole-{life}"], rows[f"single-{life}"]
        assert {k: v for k, v in one.items() if k not in apart} == {k: v for k, v in other.items() if k not in apart}


def test_a_dropped_table_is_made_again_with_the_same_rows(planned: Store) -> None:
    """An upgrade makes the missing table and fills it from the log, over many chunks of it: no row differs."""
    steps = list(
        itertools.zip_longest(*(drafts(str(life), SAGA, events) for life, events in enumerate(LIVES.values())))
    )
    for copy in range(40):  # streams interleave, so that all of them reach over the ends of chunks
        for step in steps:
            planned.write(*(Draft(f"s-{copy}-{d.stream_id}", *_tail(d)) for d in step if d is not None))
    before = rows_of(planned, sagas)
    assert len(planned.log.entries()) > 1000
    assert len(before) == 40 * len(LIVES)
    with planned.database.writing() as connection:
        sagas.drop(connection)
    assert migrate.upgrade(planned.database, planned.log, planned.views) == ["sagas"]
    assert rows_of(planned, sagas) == before == folded(planned, saga_view)


def _tail(draft: Draft) -> tuple[str, int, tuple[Any, ...], Any]:
    return draft.category, draft.expected_version, draft.events, draft.recorded_at


def test_a_table_that_is_there_is_left_alone(planned: Store) -> None:
    """An upgrade makes only what is missing."""
    planned.write(whole("s-1", SAGA, LIVES["completed"]))
    assert migrate.upgrade(planned.database, planned.log, planned.views) == []
    assert list(rows_of(planned, sagas)) == ["s-1"]


# ── A user's own view ────────────────────────────────────────────────────────────────────────────────────

notes = sa.Table(
    "notes",
    sa.MetaData(),
    sa.Column("note_id", key_text(64), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("written_at", UtcDateTime, nullable=False),
)


def _note(recorded: Recorded) -> dict[str, Any] | None:
    match recorded.event:
        case NoteWritten(text):
            return {"text": text, "written_at": recorded.recorded_at}
        case _:
            return None


note_view = View(notes, NOTE, _note)


@pytest.fixture
def write_notes(store: Store) -> Callable[..., list[Any]]:
    """Writes batches with the view of notes kept; the table is made here, beside that of the sagas."""
    views = Views([saga_view, note_view])
    assert migrate.upgrade(store.database, store.log, views) == ["notes"]
    writer = Writer(store.database, store.log, views)
    return lambda *batch: list(writer.write([writer.prepare(draft) for draft in batch]))


def test_a_row_is_made_changed_and_removed(store: Store, write_notes: Callable[..., list[Any]]) -> None:
    """The first event makes the row, later ones change it, and a change of None removes it."""
    first, second, third = drafts("n-1", NOTE, [NoteWritten("a"), NoteWritten("b"), NoteErased()])
    seen = []
    for draft in (first, second, third):
        write_notes(draft)
        seen.append([row["text"] for row in rows_of(store, notes).values()])
    assert seen == [["a"], ["b"], []]


def test_a_tombstone_leaves_no_row(store: Store, write_notes: Callable[..., list[Any]]) -> None:
    """A stream whose first event forbids the record never had a row, and other rows are untouched."""
    write_notes(whole("n-1", NOTE, [NoteForbidden()]), whole("n-2", NOTE, [NoteWritten("stays")]))
    assert [(key, row["text"]) for key, row in rows_of(store, notes).items()] == [("n-2", "stays")]


def test_rows_of_one_batch_may_set_different_columns(store: Store) -> None:
    """What an event sets does not depend on which columns its neighbours in the batch set."""
    table = sa.Table(
        "places",
        sa.MetaData(),
        sa.Column("place_id", key_text(64), primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("note", sa.Text),
    )
    views = Views([View(table, NOTE, lambda recorded: recorded.event.text)])
    store.make(*views)
    writer = Writer(store.database, store.log, views)
    columns: dict[str, dict[str, str]] = {
        "p-1": {"name": "a"},
        "p-2": {"name": "b", "note": "c"},
        "p-3": {"note": "d"},
        "p-4": {"note": "e", "name": "f"},
    }
    batch = [writer.prepare(whole(place, NOTE, [NoteWritten(row)])) for place, row in columns.items()]
    assert writer.write(batch) == [Written()] * 4
    blank = dict.fromkeys(("name", "note"))
    assert rows_of(store, table) == {p: {"place_id": p, **blank, **row} for p, row in columns.items()}


HISTORIES = {
    "changed": [NoteWritten("a"), NoteWritten("b")],
    "erased": [NoteWritten("a"), NoteErased()],
    "erased twice": [NoteWritten("a"), NoteErased(), NoteErased()],
    "written after it was erased": [NoteWritten("a"), NoteErased(), NoteWritten("b")],
    "written after it was forbidden": [NoteForbidden(), NoteWritten("a")],
    "erased in the end": [NoteWritten("a"), NoteErased(), NoteWritten("b"), NoteErased()],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_the_view_does_not_depend_on_batches(
    store: Store, write_notes: Callable[..., list[Any]], history: list[Any]
) -> None:
    """However a stream's events were cut into batches, and also when made anew, the rows are the same."""
    cuts = range(2 ** (len(history) - 1))
    for cut in cuts:
        batches = [[history[0]]]
        for place, event in enumerate(history[1:]):
            if cut >> place & 1:
                batches.append([event])
            else:
                batches[-1].append(event)
        version = 0
        for batch in batches:
            assert write_notes(Draft(f"n-{cut}", NOTE, version, tuple(batch), AT)) == [Written()]
            version += len(batch)
    texts = [rows_of(store, notes).get(f"n-{cut}", {}).get("text") for cut in cuts]
    assert len(set(texts)) == 1, texts
    with store.database.writing() as connection:
        notes.drop(connection)
    store.make(note_view)
    assert [rows_of(store, notes).get(f"n-{cut}", {}).get("text") for cut in cuts] == texts
