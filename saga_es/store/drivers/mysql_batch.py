"""MySQL and MariaDB: the changes that a batch makes to the rows of a table, as one statement.

The protocol takes a round trip for each row that is updated, which was two thirds of the time of a batch. Rows are
selected by their keys alone, so the server locks those rows and no others, as it does for single updates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

MOST_ROWS = 100
"""For each row the server searches the rows of the statement one by one."""

MOST_CHARACTERS = 500_000
"""A server accepts only so much at once (`max_allowed_packet`, 16 MB by default). A statement has at least one row."""


class UpdateByCase:
    """An update of many rows, each with values of its own.

    Args:
        table: The table of the rows.
        key: The parameter that identifies a row.
        names: All parameters, in the order of the values; the others are columns to set.
    """

    def __init__(self, table: sa.Table, key: str, names: Sequence[str], dialect: Dialect) -> None:
        written = dialect.identifier_preparer
        (column,) = table.primary_key.columns
        known_by = written.format_column(column)
        self._key = names.index(key)
        # Of a small table the server would read, and so lock, all rows; through the index it reads the requested rows
        # only.
        self._head = f"UPDATE {written.format_table(table)} FORCE INDEX (PRIMARY) SET "
        self._cases = {
            place: f"{written.format_column(table.columns[name])} = CASE {known_by}"
            for place, name in enumerate(names)
            if name != key
        }
        self._where = f" WHERE {known_by} IN "

    def executions(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """Texts, each with its parameters as `executemany` takes them.

        Args:
            rows: Their values as the driver takes them; no two with the same key.
        """
        for some in _bunches(rows):
            cases = ", ".join(case + " WHEN %s THEN %s" * len(some) + " END" for case in self._cases.values())
            keys = [row[self._key] for row in some]
            values = [value for place in self._cases for row in some for value in (row[self._key], row[place])]
            yield f"{self._head}{cases}{self._where}({', '.join(['%s'] * len(some))})", [(*values, *keys)]


def _bunches(rows: Sequence[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    bunch: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        row_size = sum(len(value) for value in row if isinstance(value, str | bytes))
        if bunch and (len(bunch) == MOST_ROWS or size + row_size > MOST_CHARACTERS):
            yield bunch
            bunch, size = [], 0
        bunch.append(row)
        size += row_size
    yield bunch
