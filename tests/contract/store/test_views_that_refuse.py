"""A view that refuses an event is behind, and says why; the event is in the log, and sagas go on."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from saga_es.core import events as e
from saga_es.store.database import Database
from saga_es.store.drivers import timeouts
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.log.log import Log
from saga_es.store.ports import Written
from saga_es.store.views import checkpoints
from saga_es.store.views.checkpoints import Failed
from saga_es.store.views.kinds import View, Views
from saga_es.store.views.saga_view import saga_view, sagas
from saga_es.store.views.tags import saga_tags, tag_view
from saga_es.store.writer import Writer
from tests.conftest import AT, NOTE, Store, note_draft
from tests.support.cards import card, cards, rows_of, texts, write_cards
from tests.support.troubles import by_hand

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
    views = Views([View(cards, NOTE, card), tag_view, saga_view])
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
    writer = Writer(hasty, Log(hasty, store.codec), Views([View(cards, NOTE, card)]))
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
