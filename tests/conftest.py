"""What tests on real databases share: a migrated store on each of them, and engines that are closed in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from sqlalchemy.engine import Connection

from saga_es.definition.saga import Saga
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.runtime.limits import Limits
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.database_store import DatabaseStore
from saga_es.store.log.codec import Codec
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Receipt
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views.kinds import Projection, Views
from saga_es.store.views.rebuild import Rebuilding, rebuild
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view
from saga_es.store.workers import Workers
from saga_es.store.writer import Writer
from tests.support.databases import KINDS, fresh_database

pytest_plugins = ["tests.support.plugin", "tests.support.both_ways"]

TIMEOUT_S = 20.0
"""The longest any test waits for something that should happen at once."""

AT = datetime(2024, 2, 29, 23, 59, 58, 123457, tzinfo=UTC)
"""Some instant, with microseconds that every database has to keep."""


# ── Events of an application, as simple as can be ────────────────────────────────────────────────────────


class NoteWritten(msgspec.Struct, frozen=True):
    """A note stands."""

    text: Any


class NoteErased(msgspec.Struct, frozen=True):
    """The note is gone."""


class NoteForbidden(msgspec.Struct, frozen=True):
    """A tombstone: no note will ever stand here."""


NOTE = "note"
NOTE_EVENTS = {NOTE: (NoteWritten, NoteErased, NoteForbidden)}


def note_draft(stream_id: str, *texts: Any, expected_version: int = 0) -> Draft:
    """A draft that appends a `NoteWritten` for each text."""
    return Draft(stream_id, NOTE, expected_version, tuple(NoteWritten(text) for text in texts), AT)


# ── The store ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Store(DatabaseStore):
    """The store of a worker, and what it stands on."""

    database: Database
    codec: Codec
    views: Views

    @classmethod
    def at(cls, database: Database) -> Store:
        """The store on a database, as the application wires it."""
        codec, views = Codec(NOTE_EVENTS), Views([saga_view, tag_view])
        wired = DatabaseStore.on(database, codec, views)
        return cls(wired.log, wired.sagas, wired.writer, wired.workers, wired.notifications, database, codec, views)

    def make(self, *views: Projection) -> Rebuilding:
        """Make views of the log as it is."""
        with schema_lock(self.database) as connection:
            return rebuild(connection, self.database, self.log, views)

    def write_within(self, connection: Connection, draft: Draft) -> None:
        """Append a draft in a transaction that is still open."""
        self.writer.write_within(connection, self.writer.prepare(draft))

    def write(self, *drafts: Draft) -> list[Receipt]:
        """Write drafts as one batch; their receipts."""
        return self.writer.write([self.writer.prepare(draft) for draft in drafts])


def migrated(url: str) -> None:
    """Migrate what is at a URL for a store."""
    database = Database(url)
    store = Store.at(database)
    migrate.upgrade(store.database, store.log, store.views)
    database.close()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, one of each kind in turn; one that was migrated is lent to who wants a store."""
    with fresh_database(request.param, tmp_path, migrated if "store" in request.fixturenames else None) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database."""
    made = Database(database_url)
    yield made
    made.close()


@pytest.fixture
def store(database: Database) -> Store:
    """A migrated database, and all that reads and writes it."""
    made = Store.at(database)
    migrate.upgrade(made.database, made.log, made.views)
    return made


# ── Engines ──────────────────────────────────────────────────────────────────────────────────────────────


class OpenEngine(Protocol):
    """Makes an engine on the test's store and opens it; the test's end closes it."""

    def __call__(
        self,
        *definitions: Saga,
        writer: Writer | None = None,
        workers: Workers | None = None,
        executor: Executor | None = None,
        recovers: bool = True,
        at_once: int | None = None,
        payload_memory: int | None = None,
        leaves_older_plans: bool = False,
        missing_code_timeout_s: float | None = None,
    ) -> Engine:
        """An open engine."""
        ...


@pytest.fixture
def open_engine(store: Store) -> Iterator[OpenEngine]:
    """Opens any number of engines, and closes them all at the end."""
    with ExitStack() as opened:

        def open_one(
            *definitions: Saga,
            writer: Writer | None = None,
            workers: Workers | None = None,
            executor: Executor | None = None,
            recovers: bool = True,
            at_once: int | None = None,
            payload_memory: int | None = None,
            leaves_older_plans: bool = False,
            missing_code_timeout_s: float | None = None,
        ) -> Engine:
            of_engine = replace(store, writer=writer or store.writer, workers=workers or store.workers)
            limits = Limits(
                at_once,
                takes_over=recovers,
                payload_memory=payload_memory,
                leaves_older_plans=leaves_older_plans,
                missing_code_timeout_s=missing_code_timeout_s,
            )
            engine = Engine(of_engine, executor or Executor(), definitions, limits=limits)
            opened.callback(engine.close, grace_s=1.0)
            return engine.open()

        yield open_one


@pytest.fixture
def gate(open_engine: OpenEngine) -> Iterator[threading.Event]:
    """An event for steps to block on; set in the end, before the engines are closed, so that none hangs."""
    del open_engine  # asked for so that this fixture ends first
    opened = threading.Event()
    yield opened
    opened.set()
