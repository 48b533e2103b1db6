"""What a batch writes, whatever the values: in one statement where that comes to the same, else in the ordinary way."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
import sqlalchemy as sa

from saga_es.store.drivers.postgresql_batch import as_one_statement
from saga_es.store.drivers.writes import Write
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.ports import Written
from saga_es.store.views.kinds import Additions, Views
from saga_es.store.views.statements import deletion, update, upsert
from saga_es.store.writer import Writer
from tests.conftest import AT, NOTE, Store, note_draft
from tests.support.kinds import kinds, make_kinds

ROW = {
    "id": "k-1",
    "text": 'a "quoted" \\ text, ünïcode, 100 %',
    "number": -7,
    "real": 0.1,
    "truth": True,
    "day": date(2026, 2, 28),
    "at": AT,
    "tree": {"a": [1, None, "x"], "b": 0.1},
}
EMPTY = {**dict.fromkeys(ROW), "id": "k-2"}


def test_all_values_come_back_as_they_were_written(store: Store) -> None:
    """Text, numbers, truth, times, JSON, and nothing at all; changed, and removed."""
    make_kinds(store)
    changed = update(kinds, ("number", "text", "tree"))
    store.database.transact([(upsert(kinds, store.database.driver), [ROW, EMPTY, {**ROW, "id": "k-3"}])])
    writes: list[Write] = [
        (changed, [{"this_row": "k-1", "number": 8, "text": None, "tree": None}]),
        (deletion(kinds), [{"this_row": "k-3"}]),
    ]
    store.database.transact(writes)
    with store.database.reading() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(kinds).order_by(kinds.c.id)).mappings()]
    assert rows == [{**ROW, "number": 8, "text": None, "tree": None}, EMPTY]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_values_that_json_would_change_are_not_sent_as_json(store: Store) -> None:
    """The server would make a number fit a text: what a replay would refuse must be refused at once."""
    dialect = store.database.engine.dialect
    insert = upsert(kinds, store.database.driver)
    assert as_one_statement([(insert, [ROW])], dialect) is not None
    for name, value in (("text", 7), ("number", True), ("number", Decimal(1)), ("at", "2026-01-01"), ("truth", 1)):
        assert as_one_statement([(insert, [{**ROW, name: value}])], dialect) is None
    assert as_one_statement([(insert, [ROW, ROW])], dialect) is None  # one statement must not touch a row twice


def test_a_row_that_is_added_twice_in_one_batch_gives_way(store: Store) -> None:
    """The later one stands, as if it had come with a batch of its own."""
    make_kinds(store)

    def rows(recorded: Recorded) -> list[dict[str, object]]:
        return [{**EMPTY, "id": "same", "text": recorded.stream_id}]

    writer = Writer(store.database, store.log, Views([Additions(kinds, NOTE, rows)]))
    batch: list[Draft] = [note_draft("n-1", "a"), note_draft("n-2", "b")]
    assert writer.write([writer.prepare(draft) for draft in batch]) == [Written(), Written()]
    with store.database.reading() as connection:
        assert connection.scalars(sa.select(kinds.c.text)).all() == ["n-2"]
