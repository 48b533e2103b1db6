"""What a database says by the codes of its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError


@dataclass(frozen=True, kw_only=True)
class ErrorCodes:
    """The codes of one database.

    Attributes:
        code: The code of what its driver raised; None where no server spoke.
        rolled_back: It gave the transaction up for the sake of another; nothing of it took place.
        in_the_way: Another transaction was in the way. The same may go well the next time.
        denied: The role that we connect as may not do that.
        read_only: Nothing can be written here, or through this connection.
        about_values: A `ProgrammingError` with this code is about a value: our statements are fixed, so only a value
            can have spoilt one.
        other_table: The table is not the one of the snapshot any more.
    """

    code: Callable[[BaseException | None], object]
    rolled_back: frozenset[object] = frozenset()
    in_the_way: frozenset[object] = frozenset()
    denied: frozenset[object] = frozenset()
    read_only: frozenset[object] = frozenset()
    about_values: frozenset[object] = frozenset()
    other_table: frozenset[object] = frozenset()

    def is_about_values(self, error: SQLAlchemyError) -> bool:
        """Whether what was asked is at fault, and not the database: asking again would never help."""
        if isinstance(error, (IntegrityError, DataError)):
            return True
        return isinstance(error, ProgrammingError) and self.code(error.orig) in self.about_values


def reason(error: Exception) -> str:
    """The driver's own first line, without our statement and its parameters."""
    original = getattr(error, "orig", None) or error
    return f"{type(original).__name__}: {str(original).splitlines()[0] if str(original) else 'no reason given'}"
