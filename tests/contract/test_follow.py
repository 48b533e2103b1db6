"""Who follows the log skips nothing, though databases hand out positions before they commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from saga_es.store.log import Entry
from tests.conftest import PATIENCE_S, Store, note_draft


def followed(entries: Iterator[Entry]) -> SimpleQueue[str]:
    """The streams of what a follower reads, as it reads them."""
    read: SimpleQueue[str] = SimpleQueue()

    def follow() -> None:
        for entry in entries:
            read.put(entry.stream_id)
            if entry.stream_id == "last":
                return

    threading.Thread(target=follow, daemon=True).start()
    return read


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_position_that_is_committed_late_is_read_late_and_not_skipped(store: Store) -> None:
    """A slow transaction takes its position first and commits last; a later position is read before it."""
    read = followed(store.log.follow(every_s=0.01))
    with store.database.writing() as slow:
        store.log.append(slow, store.log.rows(note_draft("late", "taken first")))
        store.write(note_draft("early", "committed first"))
        assert read.get(timeout=PATIENCE_S) == "early"
    assert read.get(timeout=PATIENCE_S) == "late"
    store.write(note_draft("last", "and no more"))
    assert read.get(timeout=PATIENCE_S) == "last"
