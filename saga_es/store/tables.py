"""The tables that cannot be rebuilt: the log, its archives, workers, keys. Alembic owns them; a view owns its own.

`saga_tables` says which tables saga_es made; `store/registry.py` reads and writes it.
"""

from __future__ import annotations

import sqlalchemy as sa

from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text, position_type
from saga_es.store.drivers.names import OURS, ours

metadata = sa.MetaData()

saga_events = sa.Table(
    ours("saga_events"),
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
    info=OURS,
    sqlite_autoincrement=True,
)

saga_archives = sa.Table(
    ours("saga_archives"),
    metadata,
    sa.Column("stream_id", key_text(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("hash", key_text(64), nullable=False),
    sa.Column("archive", key_text(255), nullable=False),
    sa.Column("archived_at", UtcDateTime, nullable=False),
    info=OURS,
)

saga_checkpoints = sa.Table(
    ours("saga_checkpoints"),
    metadata,
    sa.Column("name", key_text(64), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("pending", JsonText, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    info=OURS,
)

saga_bells = sa.Table(
    ours("saga_bells"),
    metadata,
    sa.Column("saga_id", key_text(64), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    info=OURS,
)

saga_workers = sa.Table(
    ours("saga_workers"),
    metadata,
    sa.Column("worker_id", key_text(64), primary_key=True),
    sa.Column("host", key_text(255), nullable=False, comment="which machine, boot and process space"),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pid_started", key_text(64), nullable=False, comment="tells a process from a later one with its pid"),
    sa.Column("heartbeat_at", sa.Double, nullable=False, comment="seconds since 1970, by the database's clock"),
    sa.Column("code", JsonText, comment="what it can run; NULL: a process of an earlier version"),
    sa.Column("migration", key_text(16), comment="up to which migration it knows the tables; NULL: 0003"),
    info=OURS,
)

saga_subjects = sa.Table(
    ours("saga_subjects"),
    metadata,
    sa.Column("key_id", key_text(64), primary_key=True),
    sa.Column("tenant", key_text(255), nullable=False),
    sa.Column("subject", key_text(255), nullable=False),
    sa.Column("wrapped", key_text(1024), nullable=False, comment="the key, wrapped by another"),
    sa.Column("wrapped_by", key_text(255), nullable=False, comment="the name of the other key"),
    sa.Column("made_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("tenant", "subject"),
    info=OURS,
)

saga_tables = sa.Table(
    ours("saga_tables"),
    metadata,
    sa.Column("name", key_text(64), primary_key=True),
    sa.Column("fingerprint", key_text(64), primary_key=True, comment="of its columns"),
    sa.Column("kind", key_text(16), nullable=False),
    sa.Column("columns", JsonText, nullable=False),
    sa.Column("made_at", UtcDateTime, nullable=False),
    sa.Column("made_by", key_text(64), nullable=False, comment="the version of saga_es"),
    info=OURS,
)

VERSION_TABLE = ours("saga_alembic_version")
"""Alembic's, for our migrations. The application's own is `alembic_version`: both may be in one database."""
