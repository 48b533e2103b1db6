"""What saga_es asks of a database: one object for each database answers it all.

No other module asks which database it is. To add a database, add a file with its `Driver`, and its name in
`__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Dialect, Engine

from saga_es.store.drivers.append_lock import AppendLock
from saga_es.store.drivers.column_types import STANDARD, ColumnTypes
from saga_es.store.drivers.error_codes import ErrorCodes
from saga_es.store.drivers.finding import Finding
from saga_es.store.drivers.gaps import Gaps
from saga_es.store.drivers.names import ours
from saga_es.store.drivers.size import LogSize
from saga_es.store.drivers.writes import BatchUpdate, Write

WRITING = "saga_es_writing"
"""The execution option of a connection whose transactions write."""

LOG_TABLE = ours("saga_events")

TABLE = "table"
"""The kind of a relation that is a table."""

Raw = Any
"""A connection of the database's Python driver, without SQLAlchemy around it."""

Changes = Callable[[Any], Mapping[str, sa.ColumnElement[Any]]]
"""Receives the columns of the row to insert; returns what to set in the row that exists."""

Swap = Callable[[], None]

Reading = Callable[[], AbstractContextManager[Connection]]
"""Opens a connection to read with."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Driver:
    """The answers of one database."""

    name: str
    """The database's name in tests; no other code uses it."""

    # ── Its URLs ─────────────────────────────────────────────────────────────────────────────────────────

    schemes: Mapping[str, str]
    """The schemes of its URLs, and SQLAlchemy's name for each."""

    url_forms: tuple[str, ...]
    """How to write its URLs, for a message."""

    in_sqlalchemys_form: Callable[[str], str]
    """Converts the text of a URL of this database to SQLAlchemy's form."""

    check_url: Callable[[URL], None]
    """Raises `SettingsError` if such a database would keep nothing."""

    django_backends: frozenset[str]
    """The last parts of the names of Django's backends for such a database."""

    check_options: Callable[[Any, Mapping[str, Any]], None]
    """Has the Python driver (its module) check the options of a connection, without connecting."""

    is_missing: Callable[[URL], bool]
    """Whether the database does not exist yet, and connecting would create it."""

    # ── Connections ──────────────────────────────────────────────────────────────────────────────────────

    tls_cure: str
    """What to do when a connection fails over TLS; empty where there is none."""

    has_server: bool
    """Whether connections lead to a server, which may restart: a new connection is as good as the old one."""

    engine_options: Callable[[URL], dict[str, Any]]
    """The options for `create_engine`."""

    prepare_connections: Callable[[Engine, URL], Callable[[], None]]
    """Has an engine prepare each connection, and begin transactions correctly. Call the returned function before each
    write that bypasses SQLAlchemy: it raises `StoreUnavailable` where the write would be lost."""

    prepare_for_batches: Callable[[Raw], None]
    """Prepares a connection for batches and short queries."""

    # ── Transactions ─────────────────────────────────────────────────────────────────────────────────────

    snapshot_options: Mapping[str, Any]
    """The execution options of a transaction that sees one state of the database."""

    read_only_options: Mapping[str, Any]
    """The same for a transaction that makes no table, not even a temporary one."""

    begin: Callable[[Raw], None]
    """Begins a transaction that writes."""

    begin_within: Callable[[Connection], None]
    """Begins the caller's transaction if it has not begun, so that a savepoint can be made in it."""

    as_one_statement: Callable[[Sequence[Write], Dialect], tuple[str, list[str]] | None]
    """All writes of a transaction as one statement that commits by itself, with its parameters; None: not possible."""

    as_one_update: Callable[[sa.Table, str, Sequence[str], Dialect], BatchUpdate] | None
    """How one statement updates many rows; None: the Python driver is as fast."""

    waiting_briefly: Callable[[Connection], AbstractContextManager[None]]
    """Limits, in a transaction and while the block runs, how long a statement waits for a lock to `BRIEFLY_S`."""

    end_query: Callable[[Raw], None]
    """Ends a query on a connection that is kept, so that the next query sees later commits."""

    forget_warnings: Callable[[Raw], None]
    """Discards earlier warnings of the database: they are not about the next commit."""

    check_commit: Callable[[Raw], None]
    """Raises `NotOnStandby` if the latest commit may not be on the standby."""

    wait_for_standby: Callable[[Connection], None]
    """Writes something whose commit waits for everything written before it."""

    errors: ErrorCodes

    # ── Statements ───────────────────────────────────────────────────────────────────────────────────────

    columns: ColumnTypes

    clock: str
    """An SQL expression: seconds since 1970 by the database's clock, as a floating-point number."""

    insert_or_change: Callable[[sa.Table, Changes], sa.Insert]
    """Inserts rows; a row with the same key is changed instead."""

    insert_unless_there: Callable[[sa.Table], sa.Insert]
    """Inserts rows; a row with the same key is left alone. Waits for a transaction that is inserting it."""

    by_bytes: Callable[[sa.ColumnElement[Any]], sa.ColumnElement[Any]]
    """A column of `KeyText`, ordered by its bytes."""

    exact: Callable[[sa.Column[Any]], sa.ColumnElement[Any]]
    """A column, compared byte for byte."""

    octets: Callable[[sa.ColumnElement[Any]], sa.ColumnElement[int]]
    """The bytes of a column of JSON or text in UTF-8."""

    through_index: Callable[[sa.Select[Any], sa.FromClause, str], sa.Select[Any]]
    """A query that uses the given index of a table, where the database needs a hint for that."""

    gaps: Gaps
    """How the database shows that a gap between positions is final."""

    # ── Changes of tables ────────────────────────────────────────────────────────────────────────────────

    relations: Callable[[Connection, Sequence[str]], Mapping[str, str]]
    """What has one of these names where our tables are made, whoever made it: its kind, by name. `TABLE` is a table's.
    A name is taken even if it differs in case, where the database takes it for the same."""

    table_of_trigger: Callable[[Connection, str], str | None]
    """The table on which the trigger of this name fires; None: there is none, or a trigger's name is its table's."""

    schema_lock: Callable[[Connection, URL], AbstractContextManager[None]]
    """Holds the schema lock, which one process has at a time, on a connection of its own. It ends with the process."""

    append_lock: AppendLock
    """How appends are held back while tables are swapped."""

    sync_later: Callable[[Connection], None]
    """Lets the commits of a connection, which is in no transaction, not wait for the disk."""

    index_names_are_the_tables_own: bool
    """Whether two tables may have indexes of the same name."""

    table_options: Mapping[str, str]
    """Options of the tables of views, so that their texts hold each character whatever the database's own default."""

    too_narrow: Callable[[Connection, str], frozenset[str]]
    """The columns of a table whose charset lacks characters."""

    prepare_swap: Callable[[Connection, Sequence[str], str, str], Swap]
    """Prepares to put new tables in the places of old ones, all or none; nobody waits for the preparation. Receives the
    names (an old table may be missing), the suffix of the new tables, and the suffix that the old tables have until
    they are dropped. Call the returned function, which swaps, on the same connection."""

    is_swapped: Callable[[Connection, str], bool]
    """Whether the table of this name differs from the table in the transaction's snapshot."""

    drop_table: Callable[[Connection, str], None]
    """Drops a table, in transactions that keep nobody waiting for long."""

    # ── Administration ───────────────────────────────────────────────────────────────────────────────────

    examine: Callable[[Connection], Iterator[Finding]]
    """Examines the settings that our promises depend on."""

    examine_writers: Callable[[URL, int], Iterator[Finding]]
    """Examines whether this many processes may write at once."""

    log_size: Callable[[Connection], LogSize]
    """How much room the log takes; it does not count."""

    grants: Callable[[Reading, Sequence[tuple[str, str]], str], list[str]]
    """Statements that grant a role the listed rights on each table, and the use of the log's sequence if it may append.
    Raises `SettingsError` where the database has no roles."""


# ── Which is it? ─────────────────────────────────────────────────────────────────────────────────────────

_LOADERS: dict[str, Callable[[], Driver]] = {}
_LOADED: dict[str, Driver] = {}


def register(load: Callable[[], Driver], *schemes: str) -> None:
    """Register the driver of a database, which is loaded when it is asked for. The package does so when it is imported.

    Args:
        load: Imports the driver.
        schemes: The schemes of its URLs; the names of its dialects are among them.
    """
    _LOADERS.update(dict.fromkeys(schemes, load))


def drivers() -> tuple[Driver, ...]:
    """All registered drivers."""
    return tuple(dict.fromkeys(map(driver_named, _LOADERS)))


def driver_named(scheme: str) -> Driver:
    """The driver of the database of this scheme, or of the dialect of this name.

    Raises:
        KeyError: No driver is registered for it.
    """
    if scheme not in _LOADED:
        _LOADED[scheme] = _LOADERS[scheme]()
    return _LOADED[scheme]


def driver_of(dialect: Dialect) -> Driver:
    """The driver of the database whose dialect this is."""
    return driver_named(dialect.name)


def driver_for(url: URL) -> Driver:
    """The driver of the database at a URL.

    Raises:
        KeyError: No driver is registered for it.
    """
    return driver_named(url.get_backend_name())


def column_types(dialect: Dialect) -> ColumnTypes:
    """The column types of a dialect; standard SQL's for a dialect of no database."""
    return driver_named(dialect.name).columns if dialect.name in _LOADERS else STANDARD
