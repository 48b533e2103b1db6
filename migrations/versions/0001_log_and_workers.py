"""The log, which triggers keep append-only, and the table of workers.

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op

from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

RULE = "saga_events is append-only"

TRIGGERS = {
    "sqlite": [
        # REPLACE deletes without firing DELETE triggers, so this trigger refuses an insert into a taken place.
        f"""
        CREATE TRIGGER saga_events_no_replace BEFORE INSERT ON saga_events
        WHEN EXISTS (SELECT 1 FROM saga_events WHERE position = NEW.position)
          OR EXISTS (SELECT 1 FROM saga_events WHERE stream_id = NEW.stream_id AND version = NEW.version)
        BEGIN SELECT RAISE(ABORT, '{RULE}: this version of the stream is taken'); END
        """,
        f"""
        CREATE TRIGGER saga_events_no_update BEFORE UPDATE ON saga_events
        BEGIN SELECT RAISE(ABORT, '{RULE}: no UPDATE'); END
        """,
        f"""
        CREATE TRIGGER saga_events_no_delete BEFORE DELETE ON saga_events
        BEGIN SELECT RAISE(ABORT, '{RULE}: no DELETE'); END
        """,
    ],
    "postgresql": [
        f"""
        CREATE FUNCTION saga_events_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '{RULE}: no %', TG_OP; END $$
        """,
        """
        CREATE TRIGGER saga_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON saga_events
        FOR EACH STATEMENT EXECUTE FUNCTION saga_events_refuse()
        """,
    ],
    "mysql": [
        # Here each DDL statement commits at once: a killed upgrade may have run any of them.
        "DROP TRIGGER IF EXISTS saga_events_no_update",
        f"""
        CREATE TRIGGER saga_events_no_update BEFORE UPDATE ON saga_events
        FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{RULE}: no UPDATE'
        """,
        "DROP TRIGGER IF EXISTS saga_events_no_delete",
        f"""
        CREATE TRIGGER saga_events_no_delete BEFORE DELETE ON saga_events
        FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{RULE}: no DELETE or REPLACE'
        """,
    ],
}


def upgrade() -> None:
    """Create the two tables, and the triggers that keep the log append-only."""
    op.create_table(
        "saga_events",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("stream_id", key_text(64), nullable=False),
        sa.Column("category", key_text(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("type", key_text(64), nullable=False),
        sa.Column("data", JsonText, nullable=False),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("stream_id", "version", name="saga_events_stream_version"),
        sqlite_autoincrement=True,
        if_not_exists=True,
    )
    op.create_table(
        "saga_workers",
        sa.Column("worker_id", key_text(64), primary_key=True),
        sa.Column("host", key_text(255), nullable=False, comment="which machine, boot and process space"),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pid_started", key_text(64), nullable=False, comment="tells a process from a later one with its pid"),
        sa.Column("heartbeat_at", sa.Double, nullable=False, comment="seconds since 1970, by the database's clock"),
        if_not_exists=True,
    )
    for statement in TRIGGERS[op.get_bind().dialect.name.replace("mariadb", "mysql")]:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables; the triggers go with the log."""
    op.drop_table("saga_workers")
    op.drop_table("saga_events")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION saga_events_refuse()")
