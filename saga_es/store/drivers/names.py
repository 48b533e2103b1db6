"""The names of our tables, completed with the prefix of the database that they are in.

A table of ours has one name in the code. Its name in a database begins with that database's prefix, if it has one. The
dialect of the database completes the names when it compiles a statement, so a statement that is built once serves
databases with different prefixes, and costs no more than one without.

Owns: that no name is completed but a name of ours. A column or a table of the application may have the same text.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.sql import quoted_name
from sqlalchemy.sql.elements import _truncated_label

LONGEST_PREFIX = 16
"""With a view's name and the longest suffix it must fit into the 63 characters of PostgreSQL."""

PREFIX = re.compile(r"[a-z](?:_?[a-z0-9])*_?")
"""Lower case, because some databases ignore case; no two underscores, which stand before a suffix of ours."""

OURS = {"saga_es": True}
"""The mark of a table of ours, in `sa.Table.info`."""


class OurName(quoted_name):
    """The name of a table of ours in the code."""


def ours(name: str) -> OurName:
    """The name of a table of ours."""
    return name if isinstance(name, OurName) else OurName(str(name), None)


def mark(table: sa.Table) -> None:
    """Make a table of the application one of ours."""
    table.name = ours(table.name)
    table.info.update(OURS)


def prefix_of(dialect: Dialect) -> str:
    """The prefix of the database that a dialect belongs to; empty: none."""
    return str(getattr(dialect.identifier_preparer, "saga_es_prefix", ""))


def full(connection: Connection, name: str) -> str:
    """The name that a table of ours has in the database."""
    return prefix_of(connection.dialect) + str(name)


def is_prefix(text: str) -> bool:
    """Whether names can begin with it on every database."""
    return len(text) <= LONGEST_PREFIX and PREFIX.fullmatch(text) is not None


def complete_names(engine: Engine, prefix: str, *, of_indexes: bool) -> None:
    """Have an engine complete the names of our tables.

    Args:
        engine: The engine.
        prefix: What the names begin with in its database.
        of_indexes: Whether the names of their indexes and constraints are completed, too.
    """
    if prefix:
        dialect = engine.dialect
        present: Any = dialect.identifier_preparer
        dialect.__class__ = _dialect_completing(type(dialect), prefix, of_indexes=of_indexes)
        dialect.identifier_preparer = present


def _dialect_completing(kind: type[Dialect], prefix: str, *, of_indexes: bool) -> type[Dialect]:
    """A kind of dialect that has no other preparer: MariaDB's makes another when it has met its server."""

    class CompletingDialect(kind):  # type: ignore[valid-type,misc]
        supports_statement_cache = True

        @property
        def identifier_preparer(self) -> Any:
            return self.__dict__["identifier_preparer"]

        @identifier_preparer.setter
        def identifier_preparer(self, preparer: Any) -> None:
            preparer.__class__ = _completing(type(preparer), prefix, of_indexes=of_indexes)
            self.__dict__["identifier_preparer"] = preparer

    return CompletingDialect


def _completing(preparer: type[Any], prefix: str, *, of_indexes: bool) -> type[Any]:
    """A kind of preparer, which writes the names in statements, that completes ours."""

    class Completing(preparer):  # type: ignore[misc]
        saga_es_prefix = prefix

        def quote(self, ident: str, *more: Any) -> str:
            named = prefix + str(ident) if isinstance(ident, OurName) else ident
            return str(super().quote(named, *more))

        def format_constraint(self, constraint: Any, *more: Any, **options: Any) -> str | None:
            if not of_indexes or not isinstance(constraint.name, str) or not isinstance(constraint.table.name, OurName):
                found: str | None = super().format_constraint(constraint, *more, **options)
                return found
            render = (
                self.truncate_and_render_index_name
                if isinstance(constraint, sa.Index)
                else self.truncate_and_render_constraint_name
            )
            return str(render(_longer(prefix, constraint.name), *more, **options))

    return Completing


def _longer(prefix: str, name: str) -> str:
    if isinstance(name, _truncated_label):  # SQLAlchemy made it of the names of the table and its column
        return _truncated_label(prefix + str(name))
    return quoted_name(prefix + str(name), getattr(name, "quote", None))
