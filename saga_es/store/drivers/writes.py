"""The writes of a transaction: statements, each with its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

THIS_ROW = "this_row"
"""The parameter that identifies the row of an update or a deletion."""

Rows = Sequence[Mapping[str, Any]]
Write = tuple[sa.Executable, Rows]
"""A statement, and the rows to execute it with: at least one, all with the same names."""


class BatchUpdate(Protocol):
    """An update of many rows, each with values of its own, by fewer statements than rows."""

    def executions(self, rows: Sequence[tuple[Any, ...]]) -> Iterable[tuple[str, list[Any]]]:
        """Texts, each with its parameters as `executemany` takes them.

        Args:
            rows: Their values as the driver takes them; no two with the same key.
        """
