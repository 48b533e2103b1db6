"""SQLite: a file, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection, Engine

from saga_es.errors import SettingsError, StoreUnavailable
from saga_es.store.drivers import sqlite_settings, sqlite_tables, timeouts
from saga_es.store.drivers.append_lock import InTransaction
from saga_es.store.drivers.column_types import ColumnTypes
from saga_es.store.drivers.driver import WRITING, Changes, Driver, Raw, Reading
from saga_es.store.drivers.error_codes import ErrorCodes
from saga_es.store.drivers.gaps import NoGaps
from saga_es.store.drivers.names import prefix_of
from saga_es.store.drivers.sqlite_file import SqliteFile
from saga_es.store.host_time import monotonic_s
from saga_es.store.own_files import OWNERS, is_planted

CACHE_KB = 16_384
"""The cache of a connection that changes tables. New rows lie near the rows before them: four times as much was no
faster."""

# ── The file ─────────────────────────────────────────────────────────────────────────────────────────────


_OPTIONS = frozenset({"uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"})
"""What Python's driver takes in a URL. Older versions of SQLAlchemy drop others without a word."""


def _check_url(url: URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise SettingsError(["an SQLite database in memory is lost in a crash; name a file"])
    unknown = sorted(url.query.keys() - _OPTIONS)
    if unknown and "uri" not in url.query:  # in a URI, the others are SQLite's own
        said = f"{', '.join(unknown)}; its options are {', '.join(sorted(_OPTIONS))}"
        raise SettingsError([f"the driver does not take it: {said}"])


def _is_missing(url: URL) -> bool:
    file = Path(url.database or "")
    return file.parent.is_dir() and not file.exists()


def _create(url: URL) -> None:
    """Create the file, if there is none, for its owner alone; SQLite gives the files beside it the same mode.

    Raises:
        StoreUnavailable: The path is a link to no file, or a link that somebody else made, or a file beside it is a
            link: SQLite would write wherever it leads. Or the file cannot be made, or opened.
    """
    if "uri" in url.query:
        return
    path = Path(url.database or "")
    if is_planted(path):
        raise StoreUnavailable(f"{path} is a link that another user made; remove it, or name the file where it is")
    for beside in (Path(f"{os.path.realpath(path)}{end}") for end in ("-wal", "-shm", "-journal")):
        if beside.is_symlink():
            raise StoreUnavailable(f"{beside} is a link; SQLite makes no links there: remove it")
    _check(path)
    if path.exists():
        return
    if path.is_symlink():
        raise StoreUnavailable(f"{path} is a link to a file that does not exist; remove the link, or make the file")
    with suppress(OSError):  # SQLite says better what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNERS))


def _check(path: Path) -> None:
    """Say why a file cannot be opened or made, where SQLite would only say that it cannot.

    Raises:
        StoreUnavailable: The path is a folder, its folder is not there, or this user may not use it.
    """
    cure = "or set SAGA_ES_DATABASE_URL or --database-url to another file"
    if path.is_dir():
        raise StoreUnavailable(f"the database file {path} is a folder; move it away, {cure}")
    if not path.parent.exists():
        raise StoreUnavailable(f"the folder of the database file {path} does not exist; make it, {cure}")
    if path.exists() and not os.access(path, os.R_OK):
        raise StoreUnavailable(f"this user may not read the database file {path}; change its mode, {cure}")
    if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise StoreUnavailable(f"this user may not make the database file {path}; change its folder's mode, {cure}")


# ── Connections and transactions ─────────────────────────────────────────────────────────────────────────


def _prepare_connections(engine: Engine, url: URL) -> Callable[[], None]:
    file = SqliteFile()
    event.listen(engine, "do_connect", lambda *_: file.check())  # SQLite would create an empty file
    event.listen(engine, "do_connect", lambda *_: _create(url))
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "connect", lambda connection, _: file.opened(connection.cursor()))
    event.listen(engine, "close", lambda *_: file.closed())
    event.listen(engine, "close_detached", lambda *_: file.closed())
    event.listen(engine, "begin", lambda _: file.check())
    event.listen(engine, "begin", _begin)
    return file.check


def _prepare(connection: Raw, _record: object) -> None:
    connection.isolation_level = None  # we execute BEGIN ourselves; the driver's is never IMMEDIATE
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {timeouts.LOCK_S * 1000}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Switch the file to WAL; when several processes do so at once, SQLite answers some "locked" without waiting."""
    deadline = monotonic_s() + timeouts.LOCK_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if monotonic_s() > deadline or _code(error) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise
            time.sleep(0.02)
        else:
            return


def _begin(connection: Connection) -> None:
    # A deferred transaction that becomes a writer can fail with "database is locked" at any statement;
    # an immediate one waits at the start.
    writing = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _begin_raw(connection: Raw) -> None:
    connection.execute("BEGIN IMMEDIATE")


def _begin_within(connection: Connection) -> None:
    # The driver delays BEGIN to the first change, and would commit a savepoint that comes before it.
    raw: Raw = connection.connection.driver_connection
    if not raw.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


_OF_ONE_TABLE = {
    sqlite3.SQLITE_ERROR,  # no such table, no such column
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_AUTH,
}


def _code(error: BaseException | None) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _sync_later(connection: Connection) -> None:
    # The table that is being built is in use by nobody yet. A power cut undoes the latest commits, as if they had never
    # been; it cannot undo a commit and keep another process's commit after it.
    raw: Raw = connection.connection.dbapi_connection  # SQLAlchemy would begin a transaction
    raw.execute("PRAGMA synchronous = NORMAL").close()


# ── The schema lock ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _schema_lock(connection: Connection, url: URL) -> Iterator[None]:
    connection.exec_driver_sql(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.rollback()
    prefix = prefix_of(connection.dialect)
    path = Path(f"{url.database}-turn{prefix and '-'}{prefix}")
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, OWNERS), "w")
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path}, which holds the schema lock: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ── Values and statements ────────────────────────────────────────────────────────────────────────────────


# SQLAlchemy's own would take longer than all else that an append or a replay does to a row.
@lru_cache(256)  # the events of one append share one time, and a view often holds it twice
def _instant_to_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    in_utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return in_utc.isoformat(timespec="microseconds")[:26] + "Z"  # without "+00:00"


@lru_cache(256)
def _text_to_instant(text: str | datetime | None) -> datetime | None:
    if text is None or isinstance(text, datetime):  # an application's own connection may convert by itself
        return text
    return datetime.fromisoformat(text)


def _insert_or_change(table: sa.Table, changes: Changes) -> sa.Insert:
    insert = sqlite.insert(table)
    keys = list(table.primary_key.columns)
    return insert.on_conflict_do_update(index_elements=keys, set_=dict(changes(insert.excluded)))


def _insert_unless_there(table: sa.Table) -> sa.Insert:
    return sqlite.insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def _grants(_reading: Reading, _tables: Sequence[tuple[str, str]], _role: str) -> list[str]:
    raise SettingsError(["SQLite knows no roles: whoever may write the file may write the log"])


SQLITE = Driver(
    name="sqlite",
    schemes={"sqlite": "sqlite+pysqlite"},
    url_forms=("sqlite:///FILE",),
    in_sqlalchemys_form=lambda text: text,
    check_url=_check_url,
    django_backends=frozenset({"sqlite3", "spatialite"}),
    check_options=lambda _module, _options: None,
    is_missing=_is_missing,
    tls_cure="",
    has_server=False,
    engine_options=lambda _url: {"connect_args": {"check_same_thread": False}},
    prepare_connections=_prepare_connections,
    prepare_for_batches=lambda _raw: None,
    snapshot_options={},
    read_only_options={},
    begin=_begin_raw,
    begin_within=_begin_within,
    as_one_statement=lambda _writes, _dialect: None,
    as_one_update=None,
    waiting_briefly=lambda _connection: nullcontext(),  # the transaction has locked the file
    end_query=lambda _raw: None,
    forget_warnings=lambda _raw: None,
    check_commit=lambda _raw: None,
    wait_for_standby=lambda _connection: None,
    errors=ErrorCodes(
        code=_code,
        in_the_way=frozenset({sqlite3.SQLITE_BUSY}),
        read_only=frozenset({sqlite3.SQLITE_READONLY}),
        of_one_table=lambda code: code in _OF_ONE_TABLE,
        about_values=frozenset({None}),  # the driver could not bind a value: SQLite never saw it
    ),
    columns=ColumnTypes(
        instant=sqlite.DATETIME(),  # type: ignore[no-untyped-call]
        write_instant=_instant_to_text,
        read_instant=_text_to_instant,
    ),
    clock="((julianday('now') - 2440587.5) * 86400.0)",
    insert_or_change=_insert_or_change,
    insert_unless_there=_insert_unless_there,
    by_bytes=lambda column: column,
    exact=lambda column: column,
    octets=lambda column: sa.func.length(sa.cast(column, sa.LargeBinary)),
    through_index=lambda query, _table, _index: query,
    gaps=NoGaps(),
    relations=sqlite_tables.relations,
    table_of_trigger=sqlite_tables.table_of_trigger,
    schema_lock=_schema_lock,
    append_lock=InTransaction(lambda _connection: None),  # there is one writer at a time
    sync_later=_sync_later,
    index_names_are_the_tables_own=False,
    table_options={},
    too_narrow=lambda _connection, _table: frozenset(),  # the database has one encoding
    prepare_swap=sqlite_tables.prepare_swap,
    is_swapped=lambda _connection, _name: False,  # a snapshot keeps the old tables to its end
    drop_table=sqlite_tables.drop,
    examine=sqlite_settings.examine,
    examine_writers=sqlite_settings.examine_writers,
    log_size=sqlite_settings.log_size,
    grants=_grants,
)
