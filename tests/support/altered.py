"""Drafts whose rows no version of this program would write."""

from __future__ import annotations

from typing import Any

from saga_es.store.log.chain import covered_by
from saga_es.store.log.entries import Prepared


def altered(prepared: Prepared, number: int = -1, **columns: Any) -> Prepared:
    """A draft whose row of this number has other columns, and the hash that belongs to them."""
    rows = list(prepared.rows)
    rows[number] = {**rows[number], **columns}
    return Prepared(prepared.draft, rows, [covered_by(row) for row in rows], prepared.size)
