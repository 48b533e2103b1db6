"""The types of columns for which SQL has no common name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine


@dataclass(frozen=True, kw_only=True)
class ColumnTypes:
    """The column types of one database.

    Attributes:
        instant: An instant to the microsecond.
        keeps_zone: Whether its values have a time zone; if not, they are in UTC.
        write_instant: Converts an instant for the Python driver; None: SQLAlchemy does.
        read_instant: Converts it back; None: SQLAlchemy does.
        json_text: JSON, kept as the exact text that was written.
        key_text: Text of at most this many characters, compared byte for byte.
    """

    instant: TypeEngine[Any] = field(default_factory=sa.DateTime)
    keeps_zone: bool = False
    write_instant: Callable[[Any], Any] | None = None
    read_instant: Callable[[Any], Any] | None = None
    json_text: TypeEngine[Any] = field(default_factory=sa.Text)
    key_text: Callable[[int, Dialect], TypeEngine[Any]] = lambda length, _dialect: sa.String(length)


STANDARD = ColumnTypes()
"""For a query that is shown and not executed."""
