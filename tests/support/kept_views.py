"""Three views of notes, one of each kind, and a store that keeps them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from saga_es.store.admin import migrate
from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.ports import Written
from saga_es.store.views.comparing import Comparison, compare
from saga_es.store.views.kinds import Additions, Projection, Tally, View, Views
from saga_es.store.writer import Writer
from tests.conftest import NOTE, NoteWritten, Store


def notes_table(name: str = "notes") -> sa.Table:
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("note_id", key_text(64), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("colour", sa.String(20), index=True),
        sa.Column("written_at", UtcDateTime, nullable=False),
        sa.Index(f"{name}_newest", "written_at", "note_id"),
    )


def note_row(recorded: Recorded) -> dict[str, Any] | None:
    match recorded.event:
        case NoteWritten(text):
            return {"text": text, "written_at": recorded.recorded_at}
        case _:
            return None


def letters(recorded: Recorded) -> list[dict[str, Any]]:
    return [{"letter": letter, "times": 1} for letter in getattr(recorded.event, "text", "")]


NOTES = View(notes_table(), NOTE, note_row)
WORDS = Additions(
    sa.Table(
        "words",
        sa.MetaData(),
        sa.Column("note_id", key_text(64), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("word", sa.Text, nullable=False),
    ),
    NOTE,
    lambda recorded: [{"note_id": recorded.stream_id, "version": recorded.version, "word": recorded.event.text}],
    only=(NoteWritten,),
)
LETTERS = Tally(
    sa.Table(
        "letters",
        sa.MetaData(),
        sa.Column("letter", key_text(1), primary_key=True),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("never", sa.BigInteger, nullable=False),
    ),
    NOTE,
    letters,
)
ALL = (NOTES, WORDS, LETTERS)


class Kept:
    """A store whose appends keep the views."""

    def __init__(self, store: Store, *views: Projection) -> None:
        self.store = store
        self.views = Views(views)
        migrate.upgrade(store.database, store.log, self.views)
        self.writer = Writer(store.database, store.log, self.views)

    def write(self, *drafts: Draft) -> None:
        """Write drafts as one batch, with the views."""
        assert self.writer.write([self.writer.prepare(draft) for draft in drafts]) == [Written()] * len(drafts)


def rows(store: Store, table: sa.Table) -> list[tuple[Any, ...]]:
    with store.database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]


def all_rows(store: Store, *views: Projection) -> list[list[tuple[Any, ...]]]:
    return [rows(store, view.table) for view in views or ALL]


def names(store: Store) -> dict[str, list[str | None]]:
    """The tables, each with the names of its indexes and constraints."""
    with store.database.reading() as connection:
        inspector = sa.inspect(connection)
        return {
            table: [
                *sorted(str(index["name"]) for index in inspector.get_indexes(table)),
                inspector.get_pk_constraint(table)["name"],
            ]
            for table in inspector.get_table_names()
        }


def differences(store: Store, *views: Projection, until: int | None = None) -> list[Comparison]:
    return [found for found in compare(store.database, store.log, views, lambda *_: None, until) if not found.is_equal]
