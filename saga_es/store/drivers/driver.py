"""What is asked of a database, whichever it is: one object for each answers it all.

Nobody else asks which database it is. To add one is to add a file with its `Driver`, and its name in `__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from saga_es.store.drivers.writes import BatchUpdate, Write

WRITING = "saga_es_writing"
"""The execution option of a connection whose transactions write."""

LOG_TABLE = "saga_events"

Raw = Any
"""A connection of the database's Python driver, without SQLAlchemy around it."""

Changes = Callable[[Any], Mapping[str, sa.ColumnElement[Any]]]
"""Given the columns of the row that was to be inserted: what to set in the row that is there."""

Swap = Callable[[], None]

Reading = Callable[[], AbstractContextManager[Connection]]
"""Opens a connection to read with."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Driver:
    """The answers of one database."""

    name: str
    """What tests call the database; nothing else asks for it."""

    # ── Its URLs ─────────────────────────────────────────────────────────────────────────────────────────

    schemes: Mapping[str, str]
    """What its URLs begin with, and what SQLAlchemy calls that."""

    url_forms: tuple[str, ...]
    """How to write its URLs, for a message."""

    in_sqlalchemys_form: Callable[[str], str]
    """The text of a URL as SQLAlchemy reads it; the text of another database's comes back as it is."""

    check_url: Callable[[URL], None]
    """Raises `SettingsError` where such a database keeps nothing."""

    check_options: Callable[[Any, Mapping[str, Any]], None]
    """Have the Python driver (its module) look at the options of a connection, without connecting."""

    is_missing: Callable[[URL], bool]
    """Whether there is no such database yet, and a look at it would make one."""

    # ── Connections ──────────────────────────────────────────────────────────────────────────────────────

    has_server: bool
    """Whether connections lead to a server, which may go and come back: a new one is as good as the old one."""

    engine_options: Callable[[URL], dict[str, Any]]
    """What `create_engine` is told."""

    prepare_connections: Callable[[Engine, URL], Callable[[], None]]
    """Have an engine prepare each connection, and begin transactions as they must. What comes back is to be called
    before each write without SQLAlchemy: it raises `StoreUnavailable` where the write would go nowhere."""

    prepare_for_batches: Callable[[Raw], None]
    """Prepare a connection on which batches are written and short queries are read."""

    # ── Transactions ─────────────────────────────────────────────────────────────────────────────────────

    snapshot_options: Mapping[str, Any]
    """The execution options for a transaction that sees one state of the database."""

    read_only_options: Mapping[str, Any]
    """The same for a transaction that makes no table either, not even a temporary one."""

    begin: Callable[[Raw], None]
    """Begin a transaction that writes."""

    begin_within: Callable[[Connection], None]
    """Make sure that a transaction of the caller's has begun, so that a savepoint can be made in it."""

    as_one_statement: Callable[[Sequence[Write], Dialect], tuple[str, list[str]] | None]
    """All writes of a transaction as one statement that commits by itself, and its parameters; None: there is none."""

    as_one_update: Callable[[sa.Table, str, Sequence[str], Dialect], BatchUpdate] | None
    """How one statement updates many rows; None: the Python driver does so as fast."""

    end_query: Callable[[Raw], None]
    """End a query on a connection that is kept, so that the next query sees what was committed since."""

    forget_warnings: Callable[[Raw], None]
    """What the database warned of until now is not about the commit that follows."""

    check_commit: Callable[[Raw], None]
    """Raises `NotOnStandby` where the commit just now is not as safe as it was to be."""

    wait_for_standby: Callable[[Connection], None]
    """Write something whose commit waits for all that was written before it."""

    errors: ErrorCodes

    # ── Statements ───────────────────────────────────────────────────────────────────────────────────────

    columns: ColumnTypes

    clock: str
    """An expression: seconds since 1970 by the clock of the database, as a floating-point number."""

    insert_or_change: Callable[[sa.Table, Changes], sa.Insert]
    """Insert rows; where there is a row of the same key, change it."""

    insert_unless_there: Callable[[sa.Table], sa.Insert]
    """Insert rows; where there is a row of the same key, leave it. Waits for a transaction that is inserting it."""

    by_bytes: Callable[[sa.ColumnElement[Any]], sa.ColumnElement[Any]]
    """A column of `KeyText`, ordered by its bytes."""

    exact: Callable[[sa.Column[Any]], sa.ColumnElement[Any]]
    """A column, compared byte for byte."""

    through_index: Callable[[sa.Select[Any], sa.FromClause, str], sa.Select[Any]]
    """A query that goes through the index of a table, where the database has to be told so."""

    gaps: Gaps
    """How it tells that nobody can fill a gap between positions any more."""

    # ── Changes of tables ────────────────────────────────────────────────────────────────────────────────

    schema_lock: Callable[[Connection, URL], AbstractContextManager[None]]
    """Hold the lock that one process at a time has, on a connection of its own. It goes with the process."""

    append_lock: AppendLock
    """How nobody appends while tables are swapped."""

    sync_later: Callable[[Connection], None]
    """Let the commits of a connection, which is in no transaction, not wait for the disk."""

    index_names_are_the_tables_own: bool
    """Whether two tables may have indexes of one name."""

    prepare_swap: Callable[[Connection, Sequence[str], str, str], Swap]
    """Prepare to put tables in the places of others, all or none, so that nobody waits for the preparation. Given the
    names (there may be no such table yet), what the new tables have behind them, and what the old ones are to have
    until they are dropped. The swap is to be called on the same connection."""

    is_swapped: Callable[[Connection, str], bool]
    """Whether the table of a name is not the one that the snapshot of the transaction has."""

    drop_table: Callable[[Connection, str], None]
    """Drop a table, in transactions that keep nobody waiting for long."""

    # ── Administration ───────────────────────────────────────────────────────────────────────────────────

    examine: Callable[[Connection], Iterator[Finding]]
    """Look at the settings that our promises depend on."""

    examine_writers: Callable[[URL, int], Iterator[Finding]]
    """Look whether so many processes may write at once."""

    grants: Callable[[Reading, Iterable[tuple[str, str]], str], list[str]]
    """Statements that grant a role the use of the log's sequence and, given tables, what it may do with each. Raises
    `SettingsError` where the database knows no roles."""


# ── Which is it? ─────────────────────────────────────────────────────────────────────────────────────────

_DRIVERS: list[Driver] = []
_BY_DIALECT: dict[str, Driver] = {}


def register(*drivers: Driver) -> None:
    """Make drivers known: the package does, before anything in it can be used."""
    _DRIVERS.extend(drivers)
    for driver in drivers:
        _BY_DIALECT.update({name.partition("+")[0]: driver for name in driver.schemes.values()})


def drivers() -> tuple[Driver, ...]:
    """All there are."""
    return tuple(_DRIVERS)


def driver_of(dialect: Dialect) -> Driver:
    """The driver of a database that SQLAlchemy speaks to in this dialect."""
    return _BY_DIALECT[dialect.name]


def driver_for(url: URL) -> Driver:
    """The driver of the database at a URL.

    Raises:
        KeyError: There is none.
    """
    return _BY_DIALECT[url.get_backend_name()]


def column_types(dialect: Dialect) -> ColumnTypes:
    """The column types of a dialect; of one that is not a database's, those of SQL itself."""
    driver = _BY_DIALECT.get(dialect.name)
    return STANDARD if driver is None else driver.columns
