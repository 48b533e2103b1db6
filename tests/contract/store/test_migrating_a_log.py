"""A log that was written before there were hashes gets them all, and nobody can change it meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from saga_es.errors import NotMigrated
from saga_es.store.admin import migrate, revisions
from saga_es.store.database import Database
from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text
from saga_es.store.log.chain import event_hash, genesis
from saga_es.store.ports import Written
from tests.conftest import AT, NOTE, Store, note_draft

before = sa.Table(
    "saga_events",
    sa.MetaData(),
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("stream_id", key_text(64)),
    sa.Column("category", key_text(64)),
    sa.Column("version", sa.Integer),
    sa.Column("type", key_text(64)),
    sa.Column("data", JsonText),
    sa.Column("recorded_at", UtcDateTime),
)
STREAMS, EVENTS = 40, 30
"""More events than are filled in at once, and streams that do not end where a chunk does."""


def to_revision(database: Database, revision: str) -> None:
    with database.writing() as connection:
        command.upgrade(revisions.config(connection), revision)


def upgrade(database: Database) -> None:
    store = Store.at(database)
    migrate.upgrade(database, store.log, store.views)


def rows_of(streams: int, events: int) -> list[dict[str, Any]]:
    """Rows as the version before wrote them: streams mixed, texts of any kind."""
    return [
        {
            "stream_id": f"n-{stream}",
            "category": NOTE,
            "version": version,
            "type": "NoteWritten",
            "data": f'{{"text": "{version} ☃ \\\\u00e9"}}',
            "recorded_at": AT.replace(microsecond=stream),
        }
        for version in range(1, events + 1)
        for stream in range(streams)
    ]


@pytest.fixture
def older(database: Database) -> Database:
    """A database of the migration before, with a log of 1200 events."""
    to_revision(database, "0002")
    with database.writing() as connection:
        connection.execute(sa.insert(before), rows_of(STREAMS, EVENTS))
    return database


def hashes_of(rows: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """What the documents say that the hashes are."""
    hashes: dict[tuple[str, int], str] = {}
    for row in rows:
        stream_id, version, data = row["stream_id"], row["version"], row["data"]
        previous = genesis(stream_id) if version == 1 else hashes[stream_id, version - 1]
        at = row["recorded_at"]
        hashes[stream_id, version] = event_hash(previous, stream_id, NOTE, version, row["type"], 1, data, at)
    return hashes


def is_guarded(database: Database) -> bool:
    """Whether the database refuses to change an event, and to remove one."""
    for change in ("UPDATE saga_events SET type = 'Forged' WHERE version = 1", "DELETE FROM saga_events"):
        try:
            with database.engine.begin() as raw:
                raw.exec_driver_sql(change)
        except DBAPIError as error:
            if "append-only" not in str(error):
                raise
        else:
            return False
    return True


def test_every_event_of_an_older_log_gets_its_hash(older: Database) -> None:
    """And is otherwise as it was, at its position; what is appended goes on from there."""
    with older.reading() as connection:
        positions = connection.execute(sa.select(before.c.position, before.c.stream_id, before.c.version)).all()
    upgrade(older)
    store = Store.at(older)
    entries = store.log.entries()
    assert [(e.position, e.stream_id, e.version) for e in entries] == sorted(tuple(row) for row in positions)
    rows = rows_of(STREAMS, EVENTS)
    assert [(e.text, e.recorded_at, e.schema) for e in entries] == [(r["data"], r["recorded_at"], 1) for r in rows]
    assert {(e.stream_id, e.version): e.hash for e in entries} == hashes_of(rows)
    assert store.write(note_draft("n-7", "on", expected_version=EVENTS), note_draft("new", "a")) == [Written()] * 2
    assert [e.position > entries[-1].position for e in store.log.entries()[-2:]] == [True, True]
    assert is_guarded(older)


def test_no_event_can_be_without_a_hash(older: Database) -> None:
    """A process of the version before, which knows none, appends no more."""
    upgrade(older)
    with pytest.raises(DBAPIError), older.engine.begin() as connection:
        connection.execute(sa.insert(before), rows_of(STREAMS, EVENTS + 1)[-1])


def test_an_older_log_goes_down_again_and_up(older: Database) -> None:
    """To the migration before and back: the same hashes."""
    upgrade(older)
    first = Store.at(older).log.entries()
    with older.writing() as connection:
        command.downgrade(revisions.config(connection), "0002")
    assert is_guarded(older)
    upgrade(older)
    assert Store.at(older).log.entries() == first


class KilledError(BaseException):
    """The process is gone: nothing of it may catch this."""


def test_a_migration_that_dies_at_any_statement_is_finished_by_the_next(database: Database) -> None:
    """It dies at its first statement, the next one at its second, and so on, until one comes through.

    At no moment is an event lost or changed, and the log is guarded.
    """
    to_revision(database, "0002")
    rows = rows_of(3, 4)
    with database.writing() as connection:
        connection.execute(sa.insert(before), rows)
    deaths = 0
    while dies_at(database, deaths):
        deaths += 1
        assert is_guarded(database), deaths
        with pytest.raises(NotMigrated):
            migrate.check(database)
    assert deaths > 15
    migrate.check(database)
    assert {(e.stream_id, e.version): e.hash for e in Store.at(database).log.entries()} == hashes_of(rows)
    with database.reading() as connection:
        triggers = {"sqlite": "sqlite_master WHERE type = 'trigger'", "postgresql": "pg_trigger WHERE NOT tgisinternal"}
        there = triggers.get(database.driver.name, "information_schema.triggers WHERE trigger_schema = database()")
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {there}").scalar() in {6, 7}


def test_the_first_migration_that_dies_at_any_statement_is_finished_by_the_next(database: Database) -> None:
    """Where nothing was there before; on MySQL each table and trigger that was made stands at once."""
    deaths = 0
    while dies_at(database, deaths):
        deaths += 1
    assert deaths > 20
    upgrade(database)
    migrate.check(database)
    assert Store.at(database).write(note_draft("n-1", "a")) == [Written()]


def dies_at(database: Database, statement: int) -> bool:
    """Migrate, and die before a statement; whether it came so far."""
    dying = Database(database.url.render_as_string(hide_password=False))
    left = statement

    def count(_connection: Connection, _cursor: object, text: str, *_: object) -> None:
        nonlocal left
        if "release_lock" in text.lower():
            return  # the server does that when the process is gone
        left -= 1
        if left < 0:
            raise KilledError

    sa.event.listen(dying.engine, "before_cursor_execute", count)
    try:
        to_revision(dying, migrate.head())
    except KilledError:
        return True
    finally:
        dying.close()
    return False
