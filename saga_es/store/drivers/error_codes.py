"""The error codes of a database, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError

from saga_es.logs.secrets import masked


@dataclass(frozen=True, kw_only=True)
class ErrorCodes:
    """The codes of one database.

    Attributes:
        code: The code of an error of the Python driver; None where no server raised it.
        rolled_back: The transaction was rolled back in favour of another; nothing of it was written.
        in_the_way: Another transaction was in the way. A second try may succeed.
        denied: The role of the connection lacks the right.
        read_only: Nothing can be written here, or through this connection.
        about_values: A `ProgrammingError` with this code is about a value: our statements are fixed, so only a value
            can have spoilt one.
        other_table: The table is no longer the one in the snapshot.
        of_one_table: Whether a code may be the fault of one table alone: it is missing, altered, locked or full. A
            wrong guess costs a second try, which fails in the same way.
    """

    code: Callable[[BaseException | None], object]
    rolled_back: frozenset[object] = frozenset()
    in_the_way: frozenset[object] = frozenset()
    denied: frozenset[object] = frozenset()
    read_only: frozenset[object] = frozenset()
    about_values: frozenset[object] = frozenset()
    other_table: frozenset[object] = frozenset()
    of_one_table: Callable[[object], bool] = lambda _code: False

    def is_about_values(self, error: SQLAlchemyError) -> bool:
        """Whether the request is at fault, not the database: a second try would never help."""
        if isinstance(error, (IntegrityError, DataError)):
            return True
        return isinstance(error, ProgrammingError) and self.code(error.orig) in self.about_values


def reason(error: Exception) -> str:
    """The first line of the driver's message, without the statement, its parameters, and secrets."""
    original = getattr(error, "orig", None) or error
    said = str(original).splitlines()[0] if str(original) else "no reason given"
    return f"{type(original).__name__}: {masked(said)}"
