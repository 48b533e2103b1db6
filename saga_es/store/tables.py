"""The tables that cannot be rebuilt: the log, its archives, the workers. Alembic owns them; views own theirs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """An instant to the microsecond: aware UTC in Python, whatever the database keeps."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """ISO 8601 text with `Z` on SQLite, `timestamptz` on PostgreSQL, `datetime(6)` in UTC on MySQL."""
        match dialect.name:
            case "sqlite":
                return dialect.type_descriptor(sqlite.DATETIME())  # type: ignore[no-untyped-call]
            case "postgresql":
                return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
            case _:
                return dialect.type_descriptor(mysql.DATETIME(fsp=6))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """SQLAlchemy's own for SQLite would take longer than all else that an append or a replay does to a row."""
        return _instant_to_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """The same, back."""
        return _text_to_instant if dialect.name == "sqlite" else super().result_processor(dialect, coltype)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Only PostgreSQL keeps the zone; the others get plain UTC."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware UTC, also where the session's time zone is another."""
        del dialect
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


@lru_cache(256)  # the events of one append have one time, and a view often shows it twice
def _instant_to_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    in_utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return in_utc.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


@lru_cache(256)
def _text_to_instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


class JsonText(TypeDecorator[str]):
    """JSON kept as the very text it was written as: encoded once, by us, and never reordered."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """`json` on PostgreSQL (which keeps the text, unlike `jsonb`), text elsewhere."""
        match dialect.name:
            case "postgresql":
                return dialect.type_descriptor(_PostgresJsonText())
            case "mysql" | "mariadb":
                return dialect.type_descriptor(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"))
            case _:
                return dialect.type_descriptor(sa.Text())


class _PostgresJsonText(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSON"

    def column_expression(self, colexpr: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        # The driver would parse a json column; we want the text as it stands.
        return sa.cast(colexpr, sa.Text)


class KeyText(TypeDecorator[str]):
    """Text compared byte for byte on every database, also on MySQL, whose default ignores case and final blanks."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MySQL and MariaDB each have a name of their own for it."""
        length = self._length
        if dialect.name not in {"mysql", "mariadb"}:
            return dialect.type_descriptor(sa.String(length))
        collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
        return dialect.type_descriptor(mysql.VARCHAR(length, charset="utf8mb4", collation=collation))


def key_text(length: int) -> KeyText:
    """Text of at most so many characters, compared byte for byte."""
    return KeyText(length)


metadata = sa.MetaData()

saga_events = sa.Table(
    "saga_events",
    metadata,
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("stream_id", key_text(64), nullable=False),
    sa.Column("category", key_text(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("type", key_text(64), nullable=False),
    sa.Column("data", JsonText, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.Column("schema", sa.SmallInteger, nullable=False),
    sa.Column("hash", key_text(64), nullable=False),
    sa.UniqueConstraint("stream_id", "version", name="saga_events_stream_version"),
    sqlite_autoincrement=True,
)

saga_archives = sa.Table(
    "saga_archives",
    metadata,
    sa.Column("stream_id", key_text(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("hash", key_text(64), nullable=False),
    sa.Column("archive", key_text(255), nullable=False),
    sa.Column("archived_at", UtcDateTime, nullable=False),
)

saga_checkpoints = sa.Table(
    "saga_checkpoints",
    metadata,
    sa.Column("name", key_text(64), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("pending", JsonText, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

saga_bells = sa.Table(
    "saga_bells",
    metadata,
    sa.Column("saga_id", key_text(64), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

saga_workers = sa.Table(
    "saga_workers",
    metadata,
    sa.Column("worker_id", key_text(64), primary_key=True),
    sa.Column("host", key_text(255), nullable=False, comment="which machine, boot and process space"),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pid_started", key_text(64), nullable=False, comment="tells a process from a later one with its pid"),
    sa.Column("heartbeat_at", sa.Double, nullable=False, comment="seconds since 1970, by the database's clock"),
)
