"""The sagas of the list: several statuses at once, and what only the fold of a saga tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from saga_es.api.access import shown_error
from saga_es.console.queries import Asked
from saga_es.console.rows import Row, rows_of
from saga_es.core.state import UNFINISHED
from saga_es.node.node import Node
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import Page, merged, page

MOST_FOLDED = 200
"""Sagas that one page folds to find those that meet a condition; the next page goes on behind them."""


class Listed(msgspec.Struct, frozen=True):
    """One page of the list; it may have few rows, or none, and yet a cursor."""

    rows: list[Row]
    next_cursor: str | None


def listed(node: Node, wanted: Asked, now: datetime, limit: int, cursor: str | None) -> Listed:
    """A page of the sagas that meet everything that was asked for, newest first.

    Raises:
        BadCursor: The cursor cannot be read.
    """
    filters = _filters(wanted)
    found: list[Row] = []
    folded = 0
    while filters:
        read = _read(node, filters, now, limit, cursor)
        rows = _rows(node, read.rows, now)
        folded += len(rows)
        found += [row for row in rows if _fits(row, wanted)]
        cursor = read.next_cursor
        if cursor is None or not wanted.needs_fold or not rows or len(found) >= limit or folded >= MOST_FOLDED:
            return Listed(found, cursor)
    return Listed([], None)


def _filters(wanted: Asked) -> list[SagaFilter]:
    """The filters of which each finds a part of the sagas, through an index of its own; none: no saga can meet all."""
    statuses, base = wanted.statuses, wanted.wanted
    if wanted.conditions:  # a saga that has ended meets none
        unfinished = [status.value for status in sorted(UNFINISHED)]
        statuses = tuple(status for status in unfinished if status in statuses or not statuses)
        base = replace(base, paused=True) if "paused" in wanted.conditions else base
        base = replace(base, waits=True) if wanted.conditions & {"retrying", "waiting"} else base
    elif not statuses:
        return [base]
    return [replace(base, status=status) for status in statuses]


def _read(node: Node, filters: Sequence[SagaFilter], now: datetime, limit: int, cursor: str | None) -> Page:
    with node.database.reading() as connection:
        return merged([page(connection, sagas_where(one, now), limit, cursor) for one in filters], limit)


def _rows(node: Node, read: Sequence[Mapping[str, Any]], now: datetime) -> list[Row]:
    return rows_of(node, [{**row, "error": shown_error(row["error"])} for row in read], now)


def _fits(row: Row, wanted: Asked) -> bool:
    is_often = wanted.attempts is None or row.attempts is None or row.attempts > wanted.attempts
    return is_often and wanted.conditions <= set(row.conditions)
