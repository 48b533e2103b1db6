"""Rows that are read a part at a time, so that the memory for them stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult


@contextmanager
def streamed(connection: Connection, query: sa.Select[Any], **options: Any) -> Iterator[CursorResult[Any]]:
    """The rows of a query; the connection is busy until the block ends.

    Args:
        connection: To read with.
        query: The query.
        options: Further options of SQLAlchemy's, such as `yield_per`.
    """
    rows = connection.execute(query, execution_options={"stream_results": True, **options})
    cursor: Any = rows.cursor
    try:
        yield rows
    finally:
        rows.close()
        with suppress(Exception):  # psycopg's is still open if the connection was cut while it was being closed
            cursor.close()
