"""The log, which triggers keep append-only, and the table of workers.

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op

from saga_es.store.admin import triggers
from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text
from saga_es.store.drivers.names import ours, prefix_of

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# {p} is the prefix of our names.
TRIGGERS = {
    "sqlite": [
        # REPLACE deletes without firing DELETE triggers, so this trigger refuses an insert into a taken place.
        """
        CREATE TRIGGER {p}saga_events_no_replace BEFORE INSERT ON {p}saga_events
        WHEN EXISTS (SELECT 1 FROM {p}saga_events WHERE position = NEW.position)
          OR EXISTS (SELECT 1 FROM {p}saga_events WHERE stream_id = NEW.stream_id AND version = NEW.version)
        BEGIN SELECT RAISE(ABORT, 'saga_events is append-only: this version of the stream is taken'); END
        """,
        """
        CREATE TRIGGER {p}saga_events_no_update BEFORE UPDATE ON {p}saga_events
        BEGIN SELECT RAISE(ABORT, 'saga_events is append-only: no UPDATE'); END
        """,
        """
        CREATE TRIGGER {p}saga_events_no_delete BEFORE DELETE ON {p}saga_events
        BEGIN SELECT RAISE(ABORT, 'saga_events is append-only: no DELETE'); END
        """,
    ],
    "postgresql": [
        """
        CREATE TRIGGER {p}saga_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {p}saga_events
        FOR EACH STATEMENT EXECUTE FUNCTION {p}saga_events_refuse()
        """,
    ],
    "mysql": [
        """
        CREATE TRIGGER {p}saga_events_no_update BEFORE UPDATE ON {p}saga_events
        FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'saga_events is append-only: no UPDATE'
        """,
        """
        CREATE TRIGGER {p}saga_events_no_delete BEFORE DELETE ON {p}saga_events
        FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'saga_events is append-only: no DELETE or REPLACE'
        """,
    ],
}

NAMES = {
    "sqlite": ("saga_events_no_replace", "saga_events_no_update", "saga_events_no_delete"),
    "postgresql": (),
    "mysql": ("saga_events_no_update", "saga_events_no_delete"),
}
"""Their names, where they are names in the whole database."""

REFUSE = "BEGIN RAISE EXCEPTION 'saga_events is append-only: no %', TG_OP; END"


def upgrade() -> None:
    """Create the two tables, and the triggers that keep the log append-only."""
    op.create_table(
        ours("saga_events"),
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
        ours("saga_workers"),
        sa.Column("worker_id", key_text(64), primary_key=True),
        sa.Column("host", key_text(255), nullable=False, comment="which machine, boot and process space"),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pid_started", key_text(64), nullable=False, comment="tells a process from a later one with its pid"),
        sa.Column("heartbeat_at", sa.Double, nullable=False, comment="seconds since 1970, by the database's clock"),
        if_not_exists=True,
    )
    bind, p = op.get_bind(), prefix_of(op.get_bind().dialect)
    kind = bind.dialect.name.replace("mariadb", "mysql")
    if kind == "postgresql":
        triggers.make_function(bind, f"{p}saga_events_refuse", REFUSE)
    for name in NAMES[kind]:  # on MySQL each is committed at once: a killed upgrade may have made any of them
        triggers.drop_if_there(bind, f"{p}{name}", f"{p}saga_events")
    for statement in TRIGGERS[kind]:
        op.execute(statement.format(p=p))


def downgrade() -> None:
    """Drop the tables; the triggers go with the log."""
    op.drop_table(ours("saga_workers"))
    op.drop_table(ours("saga_events"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP FUNCTION {prefix_of(op.get_bind().dialect)}saga_events_refuse()")
