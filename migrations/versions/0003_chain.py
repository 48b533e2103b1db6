"""The hash chain of each stream, the archives, and the checkpoints of asynchronous views.

Each event gets a hash and the version of its schema; this migration fills them in for the events of an older log. If it
is killed, SQLite and PostgreSQL roll it back. On MySQL, where each change of a table commits at once, the next upgrade
goes on with it: every step first checks whether it was done. At no moment can anybody change the log.

Revision: 0003, after 0002
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from saga_es.logs import logger
from saga_es.store.admin import triggers
from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text
from saga_es.store.drivers.names import ours, prefix_of
from saga_es.store.log.chain import event_hash, genesis
from saga_es.store.registry import relations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

AT_ONCE = 500
TOLD_EVERY = 50_000
SCHEMA = 1

RULE = "saga_events is append-only"
STONES = "saga_archives says what was removed"

# The message of each rule; it is the same on every database.
NO_UPDATE = f"{RULE}: no UPDATE"
NO_DELETE = f"{RULE}: no DELETE or REPLACE, except of a stream that is archived as it stands"
ARCHIVED = f"{RULE}: the stream is archived, its versions are taken"
NO_HEAD = f"{STONES}: a stream is archived at its last version, with its hash, and once"
NO_CHANGE = f"{STONES}: no UPDATE"
NOT_BACK = f"{STONES}: no DELETE or REPLACE before all events of the stream are back"

# The case that each rule refuses. {new} and {old} are the names of the row; {s} is what
# stands before the name of a table: the schema with a dot, and the prefix of our names.
IS_KEPT = """NOT EXISTS (
    SELECT 1 FROM {s}saga_archives a WHERE a.stream_id = {old}.stream_id AND a.version >= {old}.version
    AND NOT EXISTS (SELECT 1 FROM {s}saga_events e WHERE e.stream_id = {old}.stream_id AND e.version > a.version))"""
# An import of an archived stream begins with its last event, checked by its hash, and goes on towards the first.
IS_ARCHIVED = """EXISTS (
    SELECT 1 FROM {s}saga_archives a WHERE a.stream_id = {new}.stream_id
    AND NOT (a.version = {new}.version AND a.hash = {new}.hash)
    AND NOT (a.version > {new}.version AND EXISTS (
        SELECT 1 FROM {s}saga_events e WHERE e.stream_id = {new}.stream_id AND e.version = {new}.version + 1)))"""
IS_NO_HEAD = """NOT EXISTS (
    SELECT 1 FROM {s}saga_events e
    WHERE e.stream_id = {new}.stream_id AND e.version = {new}.version AND e.hash = {new}.hash)
    OR EXISTS (SELECT 1 FROM {s}saga_events e WHERE e.stream_id = {new}.stream_id AND e.version > {new}.version)"""
IS_TAKEN = "EXISTS (SELECT 1 FROM {s}saga_archives a WHERE a.stream_id = {new}.stream_id)"
IS_NOT_BACK = """{old}.version <> (
    SELECT count(*) FROM {s}saga_events e WHERE e.stream_id = {old}.stream_id AND e.version <= {old}.version)
    OR NOT EXISTS (
    SELECT 1 FROM {s}saga_events e
    WHERE e.stream_id = {old}.stream_id AND e.version = {old}.version AND e.hash = {old}.hash)"""

# By name: the statement and the table on which the trigger fires, its message, and the case that it refuses. The names
# are those without a prefix.
TRIGGERS = {
    "saga_events_no_update": ("UPDATE", "saga_events", NO_UPDATE, "true"),
    "saga_events_only_archived": ("DELETE", "saga_events", NO_DELETE, IS_KEPT),
    "saga_events_not_archived": ("INSERT", "saga_events", ARCHIVED, IS_ARCHIVED),
    "saga_archives_head": ("INSERT", "saga_archives", NO_HEAD, f"{IS_NO_HEAD} OR {IS_TAKEN}"),
    "saga_archives_no_update": ("UPDATE", "saga_archives", NO_CHANGE, "true"),
    "saga_archives_until_back": ("DELETE", "saga_archives", NOT_BACK, IS_NOT_BACK),
}

events = sa.Table(
    ours("saga_events"),
    sa.MetaData(),
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("stream_id", key_text(64), nullable=False),
    sa.Column("category", key_text(64), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("type", key_text(64), nullable=False),
    sa.Column("data", JsonText, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
)
hashes = sa.table(ours("saga_events"), sa.column("position"), sa.column("hash"))


def upgrade() -> None:
    """Compute the hashes of the events in the log, and create the tables and the triggers."""
    if op.get_context().as_sql:
        raise NotImplementedError("migration 0003 computes hashes: let `saga-es db upgrade` run it on the database")
    bind = op.get_bind()
    _make_tables(bind)
    match bind.dialect.name:
        case "sqlite":
            _upgrade_sqlite(bind)
        case "postgresql":
            _upgrade_postgresql(bind)
        case _:
            _upgrade_mysql(bind)


def downgrade() -> None:
    """Drop the hashes, the archives and the checkpoints.

    Raises:
        RuntimeError: Some streams are archived. Without the table nothing would show that they existed.
    """
    bind = op.get_bind()
    archived = bind.scalar(sa.select(sa.func.count()).select_from(sa.table(ours("saga_archives"))))
    if archived:
        raise RuntimeError(f"{archived} streams are archived; bring them back with `saga-es import` first")
    match bind.dialect.name:
        case "sqlite":
            _downgrade_triggers(bind)
        case "postgresql":
            _downgrade_postgresql(bind)
        case _:
            _downgrade_triggers(bind)
    op.drop_table(ours("saga_checkpoints"))
    op.drop_table(ours("saga_archives"))
    op.drop_column(ours("saga_events"), "hash")
    op.drop_column(ours("saga_events"), "schema")


def _make_tables(bind: Connection) -> None:
    p = prefix_of(bind.dialect)
    # An inspector of the database would also see what stands further along a search path.
    there = relations(bind, [f"{p}saga_archives", f"{p}saga_checkpoints"])
    if f"{p}saga_archives" not in there:
        op.create_table(
            ours("saga_archives"),
            sa.Column("stream_id", key_text(64), primary_key=True),
            sa.Column("version", sa.Integer, nullable=False),
            sa.Column("hash", key_text(64), nullable=False),
            sa.Column("archive", key_text(255), nullable=False),
            sa.Column("archived_at", UtcDateTime, nullable=False),
        )
    if f"{p}saga_checkpoints" not in there:
        op.create_table(
            ours("saga_checkpoints"),
            sa.Column("name", key_text(64), primary_key=True),
            sa.Column("position", sa.BigInteger, nullable=False),
            sa.Column("pending", JsonText, nullable=False),
            sa.Column("updated_at", UtcDateTime, nullable=False),
        )


def _chained(bind: Connection) -> Iterator[list[dict[str, Any]]]:
    """All rows with their hashes, stream by stream, `AT_ONCE` at a time."""
    stream_id, version, previous, done = "", 0, "", 0
    total = bind.scalar(sa.select(sa.func.count()).select_from(events))
    while True:
        after = (events.c.stream_id >= stream_id) & ((events.c.stream_id > stream_id) | (events.c.version > version))
        query = sa.select(events).where(after).order_by(events.c.stream_id, events.c.version).limit(AT_ONCE)
        rows = [dict(row) for row in bind.execute(query).mappings()]
        for row in rows:
            if row["stream_id"] != stream_id:
                stream_id, previous = row["stream_id"], genesis(row["stream_id"])
            version = row["version"]
            row |= {"schema": SCHEMA}
            row["hash"] = previous = event_hash(
                previous,
                stream_id,
                row["category"],
                version,
                row["type"],
                SCHEMA,
                row["data"],
                row["recorded_at"],
            )
        if not rows:
            return
        yield rows
        done += len(rows)
        if done % TOLD_EVERY == 0:
            logger.info("the log gets its hashes", events=done, of=total)


# ── SQLite: a new column that is NOT NULL needs a new table; all in one transaction ──────────────────────


def _upgrade_sqlite(bind: Connection) -> None:
    p = prefix_of(bind.dialect)
    made = op.create_table(
        ours("saga_events_chained"),
        *(column._copy() for column in events.columns),  # noqa: SLF001 (there is no other copy of a column)
        sa.Column("schema", sa.SmallInteger, nullable=False),
        sa.Column("hash", key_text(64), nullable=False),
        sa.UniqueConstraint("stream_id", "version", name="saga_events_stream_version"),
        sqlite_autoincrement=True,
    )
    for rows in _chained(bind):
        bind.execute(sa.insert(made), rows)
    op.drop_table(ours("saga_events"))
    op.execute("PRAGMA legacy_alter_table = ON")  # so that SQL views of the application on the log stay as they are
    op.rename_table(ours("saga_events_chained"), ours("saga_events"))
    op.execute("PRAGMA legacy_alter_table = OFF")
    op.execute(
        # REPLACE deletes without firing DELETE triggers, so this trigger refuses an insert into a taken place.
        f"""
        CREATE TRIGGER {p}saga_events_no_replace BEFORE INSERT ON {p}saga_events
        WHEN EXISTS (SELECT 1 FROM {p}saga_events WHERE position = NEW.position)
          OR EXISTS (SELECT 1 FROM {p}saga_events WHERE stream_id = NEW.stream_id AND version = NEW.version)
        BEGIN SELECT RAISE(ABORT, '{RULE}: this version of the stream is taken'); END
        """
    )
    for name, (change, table, words, case) in TRIGGERS.items():
        when = case.format(s=p, new="NEW", old="OLD")
        refusal = f"WHEN {when} BEGIN SELECT RAISE(ABORT, '{words}'); END"
        triggers.drop_if_there(bind, p + name, p + table)
        op.execute(f"CREATE TRIGGER {p}{name} BEFORE {change} ON {p}{table} {refusal}")


# ── PostgreSQL: in one transaction, too ──────────────────────────────────────────────────────────────────

APPEND_ONLY = """
CREATE TRIGGER {p}saga_events_append_only BEFORE {changes} ON {p}saga_events
FOR EACH STATEMENT EXECUTE FUNCTION {p}saga_events_refuse()
"""


def _upgrade_postgresql(bind: Connection) -> None:
    p = prefix_of(bind.dialect)
    op.execute(f"DROP TRIGGER {p}saga_events_append_only ON {p}saga_events")
    log = ours("saga_events")
    op.add_column(log, sa.Column("schema", sa.SmallInteger, nullable=False, server_default=str(SCHEMA)))
    op.add_column(log, sa.Column("hash", key_text(64), nullable=True))
    for rows in _chained(bind):
        _fill(bind, rows)
    op.alter_column(log, "schema", server_default=None)
    op.alter_column(log, "hash", nullable=False)
    op.execute(APPEND_ONLY.format(p=p, changes="UPDATE OR TRUNCATE"))
    # The table is named with its schema: a temporary table of the same name must not replace it.
    before = f"{bind.scalar(sa.text('SELECT quote_ident(current_schema())'))}.{p}"
    for name, (change, table, words, case) in TRIGGERS.items():
        if name == "saga_events_no_update":
            continue  # the trigger above refuses UPDATE, and TRUNCATE as well
        when = case.format(s=before, new="NEW", old="OLD")
        fires = f"BEFORE {change} ON {p}{table} FOR EACH ROW"
        if name == "saga_events_not_archived":  # for each statement: for each row would double the cost
            when = f"EXISTS (SELECT 1 FROM fresh n WHERE {case.format(s=before, new='n')})"
            fires = f"AFTER INSERT ON {p}{table} REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT"
        _make_postgresql_trigger(bind, name, fires, when, words)
    op.execute(
        f"""
        CREATE TRIGGER {p}saga_archives_no_truncate BEFORE TRUNCATE ON {p}saga_archives
        FOR EACH STATEMENT EXECUTE FUNCTION {p}saga_archives_no_update()
        """
    )


def _make_postgresql_trigger(bind: Connection, name: str, fires: str, when: str, words: str) -> None:
    p = prefix_of(bind.dialect)
    # An archiving transaction waits for appends in progress, and later appends wait for it: neither misses the other.
    lock = f"LOCK TABLE {p}saga_events IN SHARE ROW EXCLUSIVE MODE;" if name == "saga_archives_head" else ""
    body = f"""BEGIN
            {lock}
            IF {when} THEN RAISE EXCEPTION '{words}' USING ERRCODE = 'unique_violation'; END IF;
            RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
        END"""
    triggers.make_function(bind, p + name, body)
    op.execute(f"CREATE TRIGGER {p}{name} {fires} EXECUTE FUNCTION {p}{name}()")


def _downgrade_postgresql(bind: Connection) -> None:
    p = prefix_of(bind.dialect)
    op.execute(f"DROP TRIGGER {p}saga_events_append_only ON {p}saga_events")
    op.execute(f"DROP TRIGGER {p}saga_archives_no_truncate ON {p}saga_archives")
    for name, (_, table, _, _) in TRIGGERS.items():
        if name != "saga_events_no_update":
            op.execute(f"DROP TRIGGER {p}{name} ON {p}{table}")
            op.execute(f"DROP FUNCTION {p}{name}()")
    op.execute(APPEND_ONLY.format(p=p, changes="UPDATE OR DELETE OR TRUNCATE"))


def _fill(bind: Connection, rows: list[dict[str, Any]]) -> None:
    empty = sa.update(hashes).where(hashes.c.position == sa.bindparam("at"), hashes.c.hash.is_(None))
    bind.execute(
        empty.values(hash=sa.bindparam("hash_")), [{"at": row["position"], "hash_": row["hash"]} for row in rows]
    )


# ── MySQL and MariaDB: step by step; a killed upgrade may have done any of the steps ─────────────────────

# While hashes are filled in, nothing else may change, and an older process must not append an event without a hash.
MEANWHILE = {
    "saga_events_only_hash": (
        "UPDATE",
        "saga_events",
        NO_UPDATE,
        "OLD.hash IS NOT NULL OR NEW.hash IS NULL OR NOT ("
        + " AND ".join(f"NEW.{column.name} <=> OLD.{column.name}" for column in events.columns)
        + " AND NEW.`schema` <=> OLD.`schema`)",
    ),
    "saga_events_hashed": (
        "INSERT",
        "saga_events",
        f"{RULE}: this process is of a version that knows no hashes; start the present one",
        "NEW.hash IS NULL",
    ),
}


def _upgrade_mysql(bind: Connection) -> None:
    p, log = prefix_of(bind.dialect), ours("saga_events")
    columns = {column["name"]: column for column in sa.inspect(bind).get_columns(p + log)}
    if "schema" not in columns:
        op.add_column(log, sa.Column("schema", sa.SmallInteger, nullable=False, server_default=str(SCHEMA)))
    if "hash" not in columns:
        op.add_column(log, sa.Column("hash", key_text(64), nullable=True))
    last = "saga_events_no_update"
    for name, rule in (MEANWHILE | TRIGGERS).items():
        if name != last:
            _make_mysql_trigger(bind, name, rule)
    triggers.drop_if_there(bind, f"{p}saga_events_no_delete", p + log)
    triggers.drop_if_there(bind, f"{p}saga_events_no_update", p + log)
    for rows in _chained(bind):
        _fill_at_once(bind, rows)
        bind.exec_driver_sql("COMMIT")
    op.alter_column(log, "schema", existing_type=sa.SmallInteger(), nullable=False, server_default=None)
    op.alter_column(log, "hash", existing_type=key_text(64), nullable=False)
    _make_mysql_trigger(bind, last, TRIGGERS[last])
    for name in MEANWHILE:
        triggers.drop_if_there(bind, p + name, p + log)


def _fill_at_once(bind: Connection, rows: list[dict[str, Any]]) -> None:
    """Fill in the hashes with one statement: this driver would wait for the answer to each row."""
    fresh = " UNION ALL ".join(["SELECT %s AS position, %s AS hash"] * len(rows))
    bind.exec_driver_sql(
        f"UPDATE {prefix_of(bind.dialect)}saga_events e JOIN ({fresh}) fresh ON fresh.position = e.position "
        "SET e.hash = fresh.hash WHERE e.hash IS NULL",
        tuple(value for row in rows for value in (row["position"], row["hash"])),
    )


def _make_mysql_trigger(bind: Connection, name: str, rule: tuple[str, str, str, str]) -> None:
    p = prefix_of(bind.dialect)
    change, table, words, case = rule
    if triggers.is_there(bind, p + name, p + table):
        return
    signal = "SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062"  # drivers report it as a conflict, and not as an outage
    refusal = f"IF {case} THEN {signal}, MESSAGE_TEXT = '{words}'; END IF"
    if case == IS_ARCHIVED:
        # Whatever a trigger reads stays locked until the transaction ends, gaps included. So the trigger reads the log
        # only for a stream that was archived: otherwise an open transaction would block all appends.
        refusal = f"IF {IS_TAKEN} THEN {refusal}; END IF"
    refusal = refusal.format(s=p, new="NEW", old="OLD")
    op.execute(f"CREATE TRIGGER {p}{name} BEFORE {change} ON {p}{table} FOR EACH ROW {refusal}")


def _downgrade_triggers(bind: Connection) -> None:
    """Replace these triggers by those of 0001."""
    p = prefix_of(bind.dialect)
    for name in TRIGGERS:
        if name != "saga_events_no_update":
            op.execute(f"DROP TRIGGER {p}{name}")
    words = f"{RULE}: no DELETE"
    if bind.dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
    else:
        body = f"FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{words} or REPLACE'"
    op.execute(f"CREATE TRIGGER {p}saga_events_no_delete BEFORE DELETE ON {p}saga_events {body}")
