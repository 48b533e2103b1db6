"""What a transaction writes: statements, each with its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

THIS_ROW = "this_row"
"""The parameter by which updates and deletions know their row."""

Rows = Sequence[Mapping[str, Any]]
Write = tuple[sa.Executable, Rows]
"""A statement, and the rows it is to be executed with: at least one, all with the same names."""


class BatchUpdate(Protocol):
    """An update of many rows, each with values of its own, by fewer statements than rows."""

    def executions(self, rows: Sequence[tuple[Any, ...]]) -> Iterable[tuple[str, list[Any]]]:
        """Texts, each with its parameters as `executemany` takes them.

        Args:
            rows: Their values as the driver takes them; no two with one key.
        """
