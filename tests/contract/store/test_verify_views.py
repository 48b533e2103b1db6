"""A view that is not the fold of the log is told row by row, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.store.admin import migrate
from saga_es.store.drivers.columns import key_text
from saga_es.store.tables import saga_archives, saga_events
from saga_es.store.views.building import Builder
from saga_es.store.views.comparing import compare
from saga_es.store.views.kinds import Additions, View, Views
from saga_es.store.writer import Writer
from tests.conftest import AT, NOTE, NoteWritten, Store, note_draft

metadata = sa.MetaData()
notes = sa.Table(
    "notes",
    metadata,
    sa.Column("note_id", key_text(64), primary_key=True),
    sa.Column("text", sa.String(64)),
    sa.Column("length", sa.Integer),
)
words = sa.Table(
    "words",
    metadata,
    sa.Column("note_id", key_text(64), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    sa.Column("word", sa.String(64), nullable=False),
)


def _note(recorded: Any) -> Mapping[str, Any] | None:
    match recorded.event:
        case NoteWritten(text=text):
            return {"text": text, "length": len(text)}
        case _:
            return None


def _words(recorded: Any) -> Iterable[Mapping[str, Any]]:
    match recorded.event:
        case NoteWritten(text=text):
            return [
                {"note_id": recorded.stream_id, "place": 10 * recorded.version + place, "word": word}
                for place, word in enumerate(text.split())
            ]
        case _:
            return ()


VIEWS = Views([View(notes, NOTE, _note), Additions(words, NOTE, _words)])


@pytest.fixture
def noted(store: Store) -> Store:
    """Three notes, one of them written twice, and their views."""
    migrate.upgrade(store.database, store.log, VIEWS)
    writer = Writer(store.database, store.log, VIEWS)
    drafts = (note_draft("n-1", "one two"), note_draft("n-2", "Three"), note_draft("n-3", "x", "four"))
    writer.write([writer.prepare(draft) for draft in drafts])
    return store


def said(store: Store, named: int = 100) -> list[str]:
    """Everything that is said of the views."""
    compared = compare(store.database, store.log, VIEWS, lambda _position, _last: None, named=named)
    return [str(difference) for comparison in compared for difference in comparison.lines()]


def change(store: Store, *statements: sa.Executable) -> None:
    with store.database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def test_of_views_that_are_the_fold_of_the_log_nothing_is_said(noted: Store) -> None:
    """Neither of rows that changed, nor of rows that were added."""
    assert said(noted) == []


def test_each_column_that_differs_is_told_with_both_values(noted: Store) -> None:
    """Also where only the case of a letter differs, and where there is nothing at all."""
    change(
        noted,
        sa.update(notes).where(notes.c.note_id == "n-1").values(text="one Two", length=None),
        sa.update(words).where(words.c.note_id == "n-2").values(word="three"),
    )
    assert said(noted) == [
        "view notes, row n-1, column text: is 'one Two', should be 'one two'",
        "view notes, row n-1, column length: is NULL, should be '7'",
        "view words, row n-2/10, column word: is 'three', should be 'Three'",
    ]


def test_rows_that_are_missing_or_too_many_are_told(noted: Store) -> None:
    """By their keys."""
    change(
        noted,
        sa.delete(notes).where(notes.c.note_id == "n-2"),
        sa.insert(words).values(note_id="n-9", place=1, word="ghost"),
    )
    assert said(noted) == ["view notes, row n-2: it is missing", "view words, row n-9/1: it should not be there"]


def test_of_very_many_differences_some_are_named_and_all_are_counted(noted: Store) -> None:
    """So that what is printed, and what is held, stays small."""
    change(noted, sa.delete(notes))
    assert said(noted, named=2) == [
        "view notes, row n-1: it is missing",
        "view notes, row n-2: it is missing",
        "view notes: 1 more rows differ",
    ]


def test_a_view_may_keep_the_rows_of_archived_streams(noted: Store) -> None:
    """Nothing in the log says what they should be, nor that they should not be there."""
    last = noted.log.entries("n-3")[-1]
    stone = {"stream_id": "n-3", "version": 2, "hash": last.hash, "archive": "a", "archived_at": AT}
    change(
        noted,
        sa.insert(saga_archives).values(stone),
        sa.delete(saga_events).where(saga_events.c.stream_id == "n-3"),
    )
    assert said(noted) == []
    change(noted, sa.delete(words).where(words.c.note_id == "n-3"))
    assert said(noted) == []


def test_a_view_without_its_table_is_told(noted: Store) -> None:
    """And the others are compared."""
    change(noted, sa.text("DROP TABLE notes"), sa.delete(words).where(words.c.note_id == "n-1"))
    assert said(noted) == [
        "view notes: there is no such table",
        "view words, row n-1/10: it is missing",
        "view words, row n-1/11: it is missing",
    ]


def test_a_replay_that_ends_meanwhile_is_no_difference(noted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables that it puts in service are not those that were there when the comparison began."""
    catch_up = Builder.catch_up
    replays = [1, 2]

    def replay_first(builder: Builder, until: int | None = None, *, is_long: bool = False) -> tuple[int, int]:
        if is_long and replays:
            replays.pop()
            noted.make(*VIEWS)
        return catch_up(builder, until, is_long=is_long)

    monkeypatch.setattr(Builder, "catch_up", replay_first)
    assert said(noted) == []
    change(noted, sa.delete(notes).where(notes.c.note_id == "n-2"))
    assert said(noted) == ["view notes, row n-2: it is missing"]
