"""Keyset pages: newest first, a cursor instead of an offset, so that page 1000 costs what page 1 does."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.log import check_stream_id


class BadCursorError(ValueError):
    """The cursor is none that a page gave out."""


class Page(msgspec.Struct, frozen=True):
    """Rows, and the cursor of the page after; None when there is none."""

    rows: list[dict[str, Any]]
    next_cursor: str | None


class Selection(NamedTuple):
    """Rows of a view, to be read newest first.

    Attributes:
        rows: The query, without order and limit; among its columns are `created_at` and one named like the key.
        created_at: What they are ordered by; of the table whose index they are found in.
        key: What those of one instant are ordered by; of the same table.
    """

    rows: sa.Select[Any]
    created_at: sa.Column[datetime]
    key: sa.Column[str]

    @classmethod
    def of(cls, table: sa.Table) -> Selection:
        """All rows of a view, which has a column `created_at` and a key of one column."""
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
        BadCursorError: The cursor cannot be read.
    """
    query, at, key = source if isinstance(source, Selection) else Selection.of(source)
    query = query.order_by(at.desc(), key.desc()).limit(limit + 1)
    if cursor is not None:
        created_at, id_ = _decode(cursor)
        # The first half is implied by the second; it is what lets every database start inside the index.
        query = query.where(at <= created_at, (at < created_at) | ((at == created_at) & (key < id_)))
    found = [dict(row) for row in connection.execute(query).mappings()]
    rows = found[:limit]
    more = len(found) > limit
    return Page(rows, _encode(rows[-1]["created_at"], rows[-1][key.name]) if more else None)


def _encode(created_at: datetime, id_: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([created_at, id_])).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        created_at, id_ = msgspec.json.decode(text, type=tuple[datetime, str])
        check_stream_id(id_)
        return created_at.astimezone(UTC), id_
    except (binascii.Error, msgspec.DecodeError, ValueError, OverflowError) as error:
        raise BadCursorError("this is no cursor; pass on the next_cursor of the page before, unchanged") from error
