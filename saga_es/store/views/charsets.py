"""Whether the author of a view has chosen how a column keeps its characters."""

from __future__ import annotations

import sqlalchemy as sa


def has_own_charset(table: sa.Table, column: str) -> bool:
    """Whether the author of a view has chosen the charset of a column."""
    own = getattr(table.columns[column].type, "charset", None) if column in table.columns else None
    return own is not None or any(
        str(given).endswith("_charset") and value != "utf8mb4" for given, value in table.dialect_kwargs.items()
    )
