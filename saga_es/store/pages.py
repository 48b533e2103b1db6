"""Keyset pages: newest first, a cursor instead of an offset, so that page 1000 costs what page 1 does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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


def page(
    connection: Connection,
    table: sa.Table,
    limit: int,
    cursor: str | None = None,
    where: Mapping[str, Any] | None = None,
) -> Page:
    """A page of a view, newest first by `created_at`, then by its key.

    Args:
        connection: To read with.
        table: The view; has a column `created_at` and a key of one column.
        limit: Rows at most.
        cursor: The `next_cursor` of the page before; None for the first page.
        where: Columns and the values they must have; None values are passed over.

    Raises:
        BadCursorError: The cursor cannot be read.
    """
    (key,) = table.primary_key.columns
    if any("\0" in str(value) for value in (where or {}).values()):
        return Page([], None)  # no row has it, and PostgreSQL would not even be asked
    query = sa.select(table).order_by(table.c.created_at.desc(), key.desc()).limit(limit + 1)
    for column, value in (where or {}).items():
        if value is not None:
            query = query.where(table.c[column] == value)
    if cursor is not None:
        created_at, id_ = _decode(cursor)
        older = (table.c.created_at < created_at) | ((table.c.created_at == created_at) & (key < id_))
        # The first half is implied by the second; it is what lets every database start inside the index.
        query = query.where(table.c.created_at <= created_at, older)
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
