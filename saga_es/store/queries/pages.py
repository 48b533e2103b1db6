"""Keyset pages: newest first, with a cursor instead of an offset, so that page 1000 costs what page 1 does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.drivers.driver import driver_of
from saga_es.store.log.entries import check_stream_id

Condition = sa.ColumnElement[bool]


class BadCursor(ValueError):
    """No page has returned this cursor."""


MOST_LOOKED_AT = 1000
"""Rows that one page checks: some milliseconds."""


class Page(msgspec.Struct, frozen=True):
    """Rows, and the cursor of the next page; None when there is no next page.

    A page may have fewer rows than the limit, even none, and yet a cursor: it has checked `MOST_LOOKED_AT` rows, and
    the next page continues after them.
    """

    rows: list[dict[str, Any]]
    next_cursor: str | None


class Selection(NamedTuple):
    """Rows of a view, to be read newest first.

    Attributes:
        rows: What is selected; among its columns are `created_at` and one named like the key.
        created_at: The column they are ordered by; in the table whose index is used.
        key: The column that orders rows of one instant; in the same table.
        found: The conditions that the index satisfies; in the same table.
        fits: The conditions that are checked row by row.
        by_index: The name of that index. MySQL and MariaDB need it as a hint: for a page from the middle they would
            rather begin at the newest row, and skip all rows of the pages before.
        newest: Newer rows are left out. A page from the middle begins there or at its cursor, and has one bound: of
            two, SQLite may choose the wrong one, and skip all rows between.
    """

    rows: sa.Select[Any]
    created_at: sa.Column[datetime]
    key: sa.Column[str]
    found: tuple[Condition, ...] = ()
    fits: tuple[Condition, ...] = ()
    by_index: str | None = None
    newest: datetime | None = None

    @classmethod
    def of(cls, table: sa.Table) -> Selection:
        """All rows of a view that has a column `created_at` and a key of one column."""
        (key,) = table.primary_key.columns
        return cls(sa.select(table), table.c.created_at, key)


def page(connection: Connection, source: sa.Table | Selection, limit: int, cursor: str | None = None) -> Page:
    """A page of a view, newest first by `created_at`, then by its key.

    Args:
        connection: To read with.
        source: The view, or a selection of its rows.
        limit: Rows at most.
        cursor: The `next_cursor` of the page before; None for the first page.

    Raises:
        BadCursor: The cursor cannot be read.
    """
    rows, at, key, found, fits, index, newest = source if isinstance(source, Selection) else Selection.of(source)
    newest_first = (at.desc(), key.desc())
    behind = None if cursor is None else _decode(cursor)
    if behind is not None and (newest is None or behind[0] <= newest):
        found = (*found, *_behind(at, key, *behind))
    elif newest is not None:
        found = (*found, at <= newest)
    last = None
    if fits:
        keys: Any = sa.select(at, key)
        looked_at = _through(connection, keys, at.table, index).where(*found).order_by(*newest_first)
        last = connection.execute(looked_at.offset(MOST_LOOKED_AT - 1).limit(1)).one_or_none()
    if last is not None:
        found = (*found, at >= last[0], (at > last[0]) | ((at == last[0]) & (key >= last[1])))
    query = _through(connection, rows, at.table, index).where(*found, *fits).order_by(*newest_first).limit(limit + 1)
    read = [dict(row) for row in connection.execute(query).mappings()]
    if len(read) > limit:
        return Page(read[:limit], cursor_behind(read[limit - 1]["created_at"], read[limit - 1][key.name]))
    return Page(read, cursor_behind(*last) if last is not None else None)


def merged(pages: Sequence[Page], limit: int) -> Page:
    """One page of several that are apart, and that began behind one cursor.

    Where a page goes on, the rows that it would go on with are not known: older rows of the others wait for the next.

    Args:
        pages: Pages of selections of which no two have a row in common, each with the key `saga_id`.
        limit: Rows at most.
    """
    ends = [_decode(one.next_cursor) for one in pages if one.next_cursor is not None]
    rows = [row for one in pages for row in one.rows if all(_place(row) >= end for end in ends)]
    rows.sort(key=_place, reverse=True)
    if len(rows) > limit:
        return Page(rows[:limit], cursor_behind(*_place(rows[limit - 1])))
    return Page(rows, cursor_behind(*max(ends)) if ends else None)


def _place(row: Mapping[str, Any]) -> tuple[datetime, str]:
    return row["created_at"], row["saga_id"]


def _through(connection: Connection, query: sa.Select[Any], table: sa.FromClause, index: str | None) -> sa.Select[Any]:
    return query if index is None else driver_of(connection.dialect).through_index(query, table, index)


def _behind(
    at: sa.Column[datetime], key: sa.Column[str], created_at: datetime, id_: str
) -> tuple[Condition, Condition]:
    # The second implies the first; the first lets every database start inside the index.
    return at <= created_at, (at < created_at) | ((at == created_at) & (key < id_))


def cursor_behind(created_at: datetime, id_: str) -> str:
    """The cursor of the page that begins after the row of this instant and key."""
    return base64.urlsafe_b64encode(msgspec.json.encode([created_at, id_])).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        created_at, id_ = msgspec.json.decode(text, type=tuple[datetime, str])
        check_stream_id(id_)
        return created_at.astimezone(UTC), id_
    except (binascii.Error, msgspec.DecodeError, ValueError, OverflowError) as error:
        raise BadCursor("this is no cursor; pass on the next_cursor of the page before, unchanged") from error
