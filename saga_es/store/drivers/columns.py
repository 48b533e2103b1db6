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
        """The database's type for an instant."""
        return dialect.type_descriptor(column_types(dialect).instant)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """The database's own conversion, if it has one."""
        return column_types(dialect).write_instant or super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """The database's own conversion back, if it has one."""
        return column_types(dialect).read_instant or super().result_processor(dialect, coltype)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC without a zone, where the database keeps no zone."""
        if value is None or column_types(dialect).keeps_zone:
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware UTC, whatever the time zone of the session."""
        del dialect
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class JsonText(TypeDecorator[str]):
    """JSON kept as the exact text that was written: encoded once, by saga_es, and never reordered."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's type for JSON text."""
        return dialect.type_descriptor(column_types(dialect).json_text)


class KeyText(TypeDecorator[str]):
    """Text compared byte for byte on every database; MySQL would ignore case and trailing blanks."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's type for such text."""
        return dialect.type_descriptor(column_types(dialect).key_text(self._length, dialect))


def key_text(length: int) -> KeyText:
    """Text of at most this many characters, compared byte for byte."""
    return KeyText(length)


def position_type() -> sa.BigInteger:
    """A number that the database assigns; SQLite assigns numbers to its INTEGER type only."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
