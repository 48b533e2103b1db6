"""The tables that cannot be rebuilt: the log, its archives, the workers. Alembic owns them; a view owns its own."""

from __future__ import annotations

import sqlalchemy as sa

from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text, position_type

metadata = sa.MetaData()

saga_events = sa.Table(
    "saga_events",
    metadata,
    sa.Column("position", position_type(), primary_key=True, autoincrement=True),
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
