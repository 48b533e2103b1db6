"""A batch is cut into parts that one transaction takes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from saga_es.runtime.batch import MAX_TRANSACTION_SIZE, Wanted, split
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Receipt
from tests.conftest import note_draft

EIGHTH = "x" * (MAX_TRANSACTION_SIZE // 8)


def wanted(eighths: list[int]) -> Wanted:
    """A draft of events that are so many eighths of the largest part."""
    receipts: list[Receipt] = []
    prepared = Prepared(note_draft("n-1"), [], [], len(EIGHTH) * sum(eighths))
    return receipts.append, prepared


def eighths_of(part: list[Wanted]) -> int:
    return sum(prepared.size for _, prepared in part) // len(EIGHTH)


@given(st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=12))
def test_no_part_is_too_large_and_none_smaller_than_need_be(sizes: list[list[int]]) -> None:
    """All drafts are there in their order; what is larger than a part is one by itself."""
    drafts = [wanted(eighths) for eighths in sizes]
    parts = list(split(drafts))
    assert [draft for part in parts for draft in part] == drafts
    assert all(parts)
    assert all(len(part) == 1 or eighths_of(part) <= 8 for part in parts)
    assert all(eighths_of(part) + eighths_of(later[:1]) > 8 for part, later in pairwise(parts))
