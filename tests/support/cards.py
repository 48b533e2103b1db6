"""A view whose columns are narrow, and a writer's batches for it."""

from __future__ import annotations

import sqlalchemy as sa

from saga_es.store.drivers.columns import key_text
from saga_es.store.log.entries import Recorded
from saga_es.store.writer import Writer
from tests.conftest import NoteWritten, Store, note_draft

cards = sa.Table(
    "cards",
    sa.MetaData(),
    sa.Column("note_id", key_text(64), primary_key=True),
    sa.Column("colour", sa.String(8), sa.CheckConstraint("length(colour) < 9"), nullable=False),
    sa.Column("updated_at", sa.Integer, nullable=True),
)


def card(recorded: Recorded) -> dict[str, object] | None:
    """The row of a note: its text is the colour."""
    match recorded.event:
        case NoteWritten("left out"):
            return {"updated_at": 1}  # a fault of the view: the row lacks its colour
        case NoteWritten("unknown to the view"):
            raise KeyError("unknown to the view")
        case NoteWritten(colour):
            return {"colour": colour}
        case _:
            return None


def write_cards(store: Store, writer: Writer, *colours: object) -> list[type]:
    """Write a note of each colour in one batch; the kinds of the receipts."""
    drafts = [note_draft(f"n-{place}", colour) for place, colour in enumerate(colours)]
    return [type(receipt) for receipt in writer.write([store.writer.prepare(draft) for draft in drafts])]


def rows_of(store: Store, table: sa.Table) -> list[tuple[object, ...]]:
    """What stands in a table."""
    with store.database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]


def texts(store: Store) -> dict[str, list[str]]:
    """What stands in the log, by stream."""
    streams: dict[str, list[str]] = {}
    for entry in store.log.entries():
        streams.setdefault(entry.stream_id, []).append(entry.text)
    return streams
