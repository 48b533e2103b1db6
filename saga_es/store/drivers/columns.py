"""Types for columns, the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from saga_es.store.drivers.driver import column_types


class UtcDateTime(TypeDecorator[datetime]):
    """An instant to the microsecond: aware UTC in Python, whatever the database keeps."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own."""
        return dialect.type_descriptor(column_types(dialect).instant)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """The database's own, where it has one."""
        return column_types(dialect).write_instant or super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """The same, back."""
        return column_types(dialect).read_instant or super().result_processor(dialect, coltype)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Plain UTC, where no zone is kept."""
        if value is None or column_types(dialect).keeps_zone:
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware UTC, also where the session's time zone is another."""
        del dialect
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class JsonText(TypeDecorator[str]):
    """JSON kept as the very text it was written as: encoded once, by us, and never reordered."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own."""
        return dialect.type_descriptor(column_types(dialect).json_text)


class KeyText(TypeDecorator[str]):
    """Text compared byte for byte on every database, also on MySQL, whose default ignores case and final blanks."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own."""
        return dialect.type_descriptor(column_types(dialect).key_text(self._length, dialect))


def key_text(length: int) -> KeyText:
    """Text of at most so many characters, compared byte for byte."""
    return KeyText(length)


def position_type() -> sa.BigInteger:
    """A number that the database hands out; SQLite does so for its one type of whole numbers alone."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
