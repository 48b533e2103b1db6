"""A writer that is observed: each batch is counted once, however it was written."""

from __future__ import annotations

from saga_es.metrics.observed import ObservedWriter, WrittenBatch
from saga_es.store.ports import Conflict, Written
from tests.conftest import Store, note_draft


def test_a_batch_that_is_halved_is_observed_once(store: Store) -> None:
    """With all its drafts, and the receipt of each."""
    store.write(note_draft("n-1", "taken"))
    batches: list[WrittenBatch] = []
    writer = ObservedWriter(store.database, store.log, store.views, batches.append)
    drafts = [store.writer.prepare(note_draft(f"n-{n}", "mine")) for n in range(4)]
    receipts = writer.write(drafts)
    assert receipts == [Written(), Conflict(), Written(), Written()]
    assert [(batch.drafts, batch.receipts) for batch in batches] == [(drafts, receipts)]
