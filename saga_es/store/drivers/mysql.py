"""MySQL and MariaDB: two products that speak one protocol and differ in a few things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL, Connection, Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from saga_es.errors import StoreUnavailable
from saga_es.store.drivers import keepalive, mysql_settings, timeouts, tls
from saga_es.store.drivers.append_lock import OnAnotherConnection
from saga_es.store.drivers.column_types import ColumnTypes
from saga_es.store.drivers.driver import LOG_TABLE, TABLE, Changes, Driver, Raw, Reading
from saga_es.store.drivers.error_codes import ErrorCodes
from saga_es.store.drivers.gaps import RowsLocked
from saga_es.store.drivers.mysql_batch import UpdateByCase
from saga_es.store.drivers.names import full, ours, prefix_of

APPEND_LOCK_WAIT_S = 1
"""How long to wait for the append lock, while others wait behind it; the server counts whole seconds."""

SYNTAX_ERROR = 1064
LOCK_NOT_AVAILABLE = {1205, 3572}
"""The answers of MariaDB and MySQL to NOWAIT when another transaction has locked the row."""


# ── Connections and transactions ─────────────────────────────────────────────────────────────────────────


def _check_options(module: Any, options: Mapping[str, Any]) -> None:
    if module.__name__ == "pymysql":
        module.connect(**options, defer_connect=True)


def _engine_options(url: URL) -> dict[str, Any]:
    waits = f"lock_wait_timeout = {timeouts.LOCK_S}, innodb_lock_wait_timeout = {timeouts.LOCK_S}"
    strict = "sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_TRANS_TABLES')"  # else it cuts what is too long
    set_session = f"SET time_zone = '+00:00', {strict}, {waits} {keepalive.MARIADB_WATCHES}"
    fixed = {"charset": "utf8mb4", "init_command": set_session}
    # `read_timeout` covers only the start of a new connection; `watch` removes it.
    asks = {"connect_timeout": keepalive.CONNECT_S, "read_timeout": keepalive.CONNECT_S}
    arguments = {**keepalive.unless_given(url, asks), **fixed, **tls.for_pymysql(url)}
    return {"pool_pre_ping": True, "pool_recycle": 3600, "connect_args": arguments}


def _prepare_connections(engine: Engine, url: URL) -> Callable[[], None]:
    event.listen(engine, "connect", lambda connection, _: keepalive.watch(connection, url))
    return lambda: None


def _end_query(connection: Raw) -> None:
    connection.rollback()


_OF_THE_SERVER = {1040, 1042, 1043, 1053, 1077, 1079, 1129, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927}
"""Too many connections, shutting down, a connection that is cut off."""


def _is_of_one_table(code: object) -> bool:
    is_servers = isinstance(code, int) and (1000 <= code < 2000 or code >= 3000)  # noqa: PLR2004 (its manual: the client's)
    return is_servers and code not in _OF_THE_SERVER


def _code(error: BaseException | None) -> object:
    return next(iter(getattr(error, "args", ())), None)


# ── Locks ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _schema_lock(connection: Connection, url: URL) -> Iterator[None]:
    prefix = prefix_of(connection.dialect)
    # Such a lock covers the whole server, and its name has at most 64 characters.
    place = f"{url.database}{prefix and chr(0)}{prefix}"
    name = f"saga_es {sha256(place.encode()).hexdigest()[:32]}"
    got = connection.scalar(sa.select(sa.func.get_lock(name, timeouts.SCHEMA_LOCK_S)))
    connection.rollback()
    if got != 1:
        raise StoreUnavailable(
            f"another process has been changing the tables for {timeouts.SCHEMA_LOCK_S} s; try again when it is done"
        )
    yield


@contextmanager
def _append_lock_held(holder: Connection) -> Iterator[None]:
    holder.exec_driver_sql(f"LOCK TABLES {full(holder, LOG_TABLE)} READ")
    try:
        yield
    finally:
        holder.exec_driver_sql("UNLOCK TABLES")


def _wait_briefly(connection: Connection) -> None:
    with connection.begin():
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {APPEND_LOCK_WAIT_S}")


@contextmanager
def _waiting_briefly(connection: Connection) -> Iterator[None]:
    connection.exec_driver_sql(_WAITS.format(timeouts.BRIEFLY_S))
    try:
        yield
    finally:  # of the session, which the next transaction has, too
        connection.exec_driver_sql(_WAITS.format(timeouts.LOCK_S))


_WAITS = "SET SESSION lock_wait_timeout = {0}, innodb_lock_wait_timeout = {0}"


def _finds_nothing(connection: Connection, query: sa.Select[Any]) -> bool:
    # Committed rows only, and no lock on missing rows: no append ever waits for this.
    connection.execution_options(isolation_level="READ COMMITTED")
    try:
        return connection.execute(query.with_for_update(read=True, nowait=True)).first() is None
    except DBAPIError as error:
        if _code(error.orig) in LOCK_NOT_AVAILABLE:
            return False
        raise


# ── Values and statements ────────────────────────────────────────────────────────────────────────────────


def _key_text(length: int, dialect: Dialect) -> TypeEngine[Any]:
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return mysql.VARCHAR(length, charset="utf8mb4", collation=collation)


def _insert_or_change(table: sa.Table, changes: Changes) -> sa.Insert:
    insert = mysql.insert(table)
    return insert.on_duplicate_key_update(dict(changes(insert.inserted)))


def _insert_unless_there(table: sa.Table) -> sa.Insert:
    # Not INSERT IGNORE: with its shared locks, two waiting transactions would deadlock.
    return mysql.insert(table).on_duplicate_key_update({c.name: c for c in table.primary_key.columns})


def _exact(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    is_text = isinstance(column.type, (sa.JSON, sa.String, sa.types.TypeDecorator))  # it would equate A and a
    return sa.cast(column, sa.BINARY) if is_text else column


def _through_index(query: sa.Select[Any], table: sa.FromClause, index: str) -> sa.Select[Any]:
    for dialect in _DIALECTS:
        query = query.with_hint(table, f"FORCE INDEX ({index})", dialect)
    return query


_DIALECTS = ("mysql", "mariadb")


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────


_RELATIONS = sa.text(
    "SELECT table_name AS name, table_type AS kind, @@lower_case_table_names AS is_caseless "
    "FROM information_schema.tables WHERE table_schema = database() AND lower(table_name) IN :names"
).bindparams(sa.bindparam("names", expanding=True))


def _relations(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    rows = connection.execute(_RELATIONS, {"names": [name.lower() for name in names]}).all()
    return {
        name: TABLE if row.kind in _TABLE_TYPES else str(row.kind).lower()
        for name in names
        for row in rows
        if name == row.name or (row.is_caseless and name.lower() == row.name.lower())
    }


_TABLE_TYPES = {"BASE TABLE", "SYSTEM VERSIONED"}


_TRIGGER = sa.text(
    "SELECT event_object_table FROM information_schema.triggers "
    "WHERE trigger_schema = database() AND trigger_name = :name"
)


def _prepare_swap(connection: Connection, names: Sequence[str], suffix: str, old: str) -> Callable[[], None]:
    quote = connection.dialect.identifier_preparer.quote
    there = _relations(connection, names)
    moves = [f"{quote(name)} TO {quote(name + old)}" for name in names if name in there]
    moves += [f"{quote(name + suffix)} TO {quote(name)}" for name in names]
    return lambda: connection.exec_driver_sql(f"RENAME TABLE {', '.join(moves)}").close()


def _too_narrow(connection: Connection, table: str) -> frozenset[str]:
    found = connection.execute(_NARROW_COLUMNS, {"table": table, "charset": mysql_settings.CHARSET})
    return frozenset(str(name) for name in found.scalars())


_NARROW_COLUMNS = sa.text(
    "SELECT column_name FROM information_schema.columns WHERE table_schema = database() AND table_name = :table "
    "AND character_set_name IS NOT NULL AND character_set_name <> :charset"
)


def _drop(connection: Connection, name: str) -> None:
    with connection.begin():
        connection.exec_driver_sql(f"DROP TABLE {connection.dialect.identifier_preparer.quote(name)}")


# ── Roles ────────────────────────────────────────────────────────────────────────────────────────────────


def _grants(reading: Reading, tables: Sequence[tuple[str, str]], role: str) -> list[str]:
    with reading() as connection:
        quote = connection.dialect.identifier_preparer.quote
        schema, account = quote(connection.engine.url.database or ""), _account(role)
    return [f"GRANT {what} ON {schema}.{quote(ours(table))} TO {account}" for table, what in tables]


def _account(role: str) -> str:
    name, _, host = role.partition("@")
    return f"{_text(name)}@{_text(host or '%')}"


def _text(words: str) -> str:
    escaped = words.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


MYSQL = Driver(
    name="mysql",
    schemes={"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"},
    url_forms=("mysql://…", "mariadb://…"),
    in_sqlalchemys_form=lambda text: text,
    check_url=lambda _url: None,
    django_backends=frozenset({"mysql"}),
    check_options=_check_options,
    is_missing=lambda _url: False,
    tls_cure=tls.CURE_FOR_PYMYSQL,
    has_server=True,
    engine_options=_engine_options,
    prepare_connections=_prepare_connections,
    prepare_for_batches=lambda _raw: None,
    snapshot_options={"isolation_level": "REPEATABLE READ"},
    read_only_options={"isolation_level": "REPEATABLE READ"},
    begin=lambda _raw: None,  # the first statement begins it
    begin_within=lambda _connection: None,
    as_one_statement=lambda _writes, _dialect: None,
    as_one_update=UpdateByCase,
    waiting_briefly=_waiting_briefly,
    end_query=_end_query,
    forget_warnings=lambda _raw: None,
    check_commit=lambda _raw: None,
    wait_for_standby=lambda _connection: None,
    errors=ErrorCodes(
        code=_code,
        rolled_back=frozenset({1213, 1020}),  # deadlock, record has changed since it was read
        in_the_way=frozenset({1213, 1020, 1205}),  # lock wait timeout
        denied=frozenset({1044, 1142, 1143, 1370}),
        read_only=frozenset({1290, 1792, 1836}),
        of_one_table=_is_of_one_table,
        about_values=frozenset({SYNTAX_ERROR}),  # PyMySQL sends even values that have no SQL form
        other_table=frozenset({1146, 1412, 1684}),  # no such table, its definition has changed, or is changing
    ),
    columns=ColumnTypes(
        instant=mysql.DATETIME(fsp=6),
        json_text=mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"),
        key_text=_key_text,
    ),
    clock="CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)",
    insert_or_change=_insert_or_change,
    insert_unless_there=_insert_unless_there,
    by_bytes=lambda column: column,  # its collation does
    exact=_exact,
    octets=sa.func.octet_length,
    through_index=_through_index,
    gaps=RowsLocked(_finds_nothing),
    relations=_relations,
    table_of_trigger=lambda connection, name: connection.scalar(_TRIGGER, {"name": name}),
    schema_lock=_schema_lock,
    append_lock=OnAnotherConnection(_append_lock_held, _wait_briefly),
    sync_later=lambda _connection: None,
    index_names_are_the_tables_own=True,
    table_options={f"{name}_charset": mysql_settings.CHARSET for name in _DIALECTS},
    too_narrow=_too_narrow,
    prepare_swap=_prepare_swap,
    is_swapped=lambda _connection, _name: False,  # it refuses to read the table: `other_table`
    drop_table=_drop,
    examine=mysql_settings.examine,
    examine_writers=lambda _url, _writers: iter(()),
    log_size=lambda connection: mysql_settings.log_size(connection, full(connection, LOG_TABLE)),
    grants=_grants,
)
