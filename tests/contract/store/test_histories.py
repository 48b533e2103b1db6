"""A recorded history in a real database: imported, made into views, and told as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from saga_es.store.archive.bundle import Writing, streams_in
from saga_es.store.archive.importing import By, Importing
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.queries.past import story_at, views_at
from saga_es.store.views.saga_view import sagas
from tests.conftest import Store
from tests.histories.golden import HISTORIES, is_still_told, stories_then


@pytest.mark.parametrize("history", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_is_told_from_a_database_as_it_was(store: Store, history: Path, tmp_path: Path) -> None:
    """By the log, by the view that was kept with it, and by one that is made anew."""
    importing = Importing(store.database, store.log, store.sagas, store.views, By("ada"), unfinished=True)
    for _ in importing.bring(sagas_alone(history, tmp_path / "sagas.ndjson")):
        pass
    then = stories_then(history)
    for saga_id, told in then.items():
        assert is_still_told(told, msgspec.to_builtins(story_at(store.sagas, saga_id)[0])), saga_id
    query = sa.select(sagas.c.saga_id, sagas.c.status, sagas.c.error)
    right = {(saga_id, told["status"]) for saga_id, told in then.items()}
    with store.database.reading() as kept, views_at(store.log, store.views, store.log.last_position()) as anew:
        rows = [{tuple(row) for row in connection.execute(query)} for connection in (kept, anew)]
    assert rows[0] == rows[1]
    assert {(saga_id, status) for saga_id, status, _ in rows[0]} == right


def sagas_alone(history: Path, path: Path) -> Path:
    """The history without the services' records, which no log takes from a file."""
    with path.open("wb") as file:
        writing = Writing(file, datetime.now(UTC))
        for entries in streams_in(history):
            if entries[0].category in {PLAN, SAGA}:
                writing.add(entries)
        writing.end()
    return path
