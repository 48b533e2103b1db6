"""PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL, Connection, Engine

from saga_es.store.drivers import keepalive, postgresql_settings, postgresql_tables, standby, timeouts, tls
from saga_es.store.drivers.append_lock import InTransaction
from saga_es.store.drivers.column_types import ColumnTypes
from saga_es.store.drivers.columns import JsonText
from saga_es.store.drivers.driver import LOG_TABLE, Changes, Driver, Raw, Reading
from saga_es.store.drivers.error_codes import ErrorCodes
from saga_es.store.drivers.gaps import WritersKnown
from saga_es.store.drivers.names import full, ours, prefix_of
from saga_es.store.drivers.postgresql_batch import as_one_statement

APPEND_LOCK_WAIT_MS = 200
"""How long to wait for the append lock, while others wait behind it."""

SCHEMA_LOCK = 5_347_261
"""The key of the schema lock within a database: any number, the same in all processes."""

# Our queries read few rows. Where the planner expects many, it would compile them first, for ten milliseconds or more.
_NO_JIT = "SELECT set_config('jit', 'off', false) WHERE EXISTS (SELECT FROM pg_settings WHERE name = 'jit')"

_BY_KEY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""Batches select rows by keys. PostgreSQL keeps the plan of a prepared statement. A plan that was made when a view
was small, or when its statistics were old, would read the whole view for each batch."""

_WRITERS = sa.text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted AND mode = 'RowExclusiveLock' "
    "AND relation = CAST(:log AS regclass) "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

_SEVERAL_HOSTS = re.compile(
    r"(?P<scheme>postgres(?:ql)?(?:\+\w+)?)://(?P<user>[^/?]*@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>(?:[/?].*)?)$"
)


# ── URLs ─────────────────────────────────────────────────────────────────────────────────────────────────


def _with_hosts_apart(text: str) -> str:
    """`postgresql://a:1,b:2/db`, the form of PostgreSQL's own tools, in SQLAlchemy's form: `…///db?host=a:1&host=b:2`.

    Of several servers it means the one that accepts writes, unless the URL says otherwise.
    """
    found = _SEVERAL_HOSTS.match(text)
    if found is None:
        return text
    path, _, query = found["rest"].partition("?")
    given = [query] if query else []
    wanted = [] if "target_session_attrs" in query else ["target_session_attrs=read-write"]
    hosts = [f"host={host}" for host in found["hosts"].split(",")]
    return f"{found['scheme']}://{found['user'] or ''}{path or '/'}?{'&'.join([*given, *wanted, *hosts])}"


def _check_options(module: Any, options: Mapping[str, Any]) -> None:
    if module.__name__ == "psycopg":
        module.conninfo.make_conninfo(**options)
        module.conninfo.timeout_from_conninfo(options)


# ── Connections and transactions ─────────────────────────────────────────────────────────────────────────


def _engine_options(url: URL) -> dict[str, Any]:
    asks = {
        "client_encoding": "utf8",  # by default it is the database's, and without one texts arrive as bytes
        "connect_timeout": keepalive.CONNECT_S,
        "keepalives_idle": keepalive.QUIET_S,
        "keepalives_interval": keepalive.ASK_EVERY_S,
        "keepalives_count": keepalive.UNANSWERED,
        "tcp_user_timeout": keepalive.GIVEN_UP_S * 1000,
    }
    return {"pool_pre_ping": True, "connect_args": {**keepalive.unless_given(url, asks), **tls.for_libpq(url)}}


def _prepare_connections(engine: Engine, _url: URL) -> Callable[[], None]:
    event.listen(engine, "connect", _prepare)
    return lambda: None


def _prepare(connection: Raw, _record: object) -> None:
    standby.listen(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{timeouts.LOCK_S}s'")
        cursor.execute(_NO_JIT)
        cursor.execute(keepalive.POSTGRESQL_WATCHES)
    connection.commit()


def _prepare_for_batches(connection: Raw) -> None:
    connection.autocommit = True
    connection.execute(_BY_KEY)


def _begin(connection: Raw) -> None:
    connection.execute("BEGIN")


def _wait_for_standby(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'saga_es', 'are we in step?')")


_CLASSES_OF_ONE_TABLE = {"0A", "22", "23", "42", "44", "54", "55", "P0"}
"""Values, constraints, names and rights, limits, locks, and what triggers raise (its manual, appendix A)."""

_OF_ONE_TABLE = {"53100", "57014", "58030", "XX001", "XX002"}
"""Its disk is full or broken, a statement took too long, its file or index is damaged."""


def _code(error: BaseException | None) -> object:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


# ── Locks ────────────────────────────────────────────────────────────────────────────────────────────────


def _schema_lock_key(prefix: str) -> tuple[int, ...]:
    """One number without a prefix, as ever; two with one: neighbours need not wait for each other."""
    if not prefix:
        return (SCHEMA_LOCK,)
    return SCHEMA_LOCK, int.from_bytes(sha256(prefix.encode()).digest()[:4], signed=True)


@contextmanager
def _schema_lock(connection: Connection, _url: URL) -> Iterator[None]:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{timeouts.SCHEMA_LOCK_S}s'")
    connection.execute(sa.select(sa.func.pg_advisory_lock(*_schema_lock_key(prefix_of(connection.dialect)))))
    connection.rollback()  # the session keeps the lock
    yield


def _take_append_lock(connection: Connection) -> None:
    # The log before the views: appends lock them in this order.
    wait = f"SET LOCAL lock_timeout = '{APPEND_LOCK_WAIT_MS}ms'"
    connection.exec_driver_sql(f"{wait}; LOCK TABLE {full(connection, LOG_TABLE)} IN SHARE MODE")


@contextmanager
def _waiting_briefly(connection: Connection) -> Iterator[None]:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{timeouts.BRIEFLY_S}s'")
    yield
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{timeouts.LOCK_S}s'")


def _writers(connection: Connection) -> frozenset[str]:
    # A transaction that is assigned a position holds this lock until it ends. Transactions in other databases, however
    # long, do not matter. A lock also shows transactions without a transaction id, which `pg_snapshot_xmin` does not.
    return frozenset(connection.scalars(_WRITERS, {"log": full(connection, LOG_TABLE)}))


# ── Values and statements ────────────────────────────────────────────────────────────────────────────────


class _PostgresJsonText(sa.types.UserDefinedType[str]):
    """`json`, which keeps the exact text, unlike `jsonb`."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Its name in SQL."""
        return "JSON"

    def column_expression(self, colexpr: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        """The text as it is: the driver would parse a json column."""
        return sa.cast(colexpr, sa.Text)


def _insert_or_change(table: sa.Table, changes: Changes) -> sa.Insert:
    insert = postgresql.insert(table)
    keys = list(table.primary_key.columns)
    return insert.on_conflict_do_update(index_elements=keys, set_=dict(changes(insert.excluded)))


def _insert_unless_there(table: sa.Table) -> sa.Insert:
    return postgresql.insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def _exact(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    is_json = isinstance(column.type, (sa.JSON, JsonText))  # PostgreSQL does not compare json
    return sa.cast(column, sa.Text) if is_json else column


# ── Roles ────────────────────────────────────────────────────────────────────────────────────────────────


def _grants(reading: Reading, tables: Sequence[tuple[str, str]], role: str) -> list[str]:
    appends = any(table == LOG_TABLE and "INSERT" in what for table, what in tables)
    with reading() as connection:
        quote = connection.dialect.identifier_preparer.quote
        log = full(connection, LOG_TABLE)
        schema, yours = quote(str(connection.scalar(sa.select(sa.func.current_schema())))), quote(role)
    return [
        f"GRANT USAGE ON SCHEMA {schema} TO {yours}",
        *([f"GRANT USAGE ON SEQUENCE {schema}.{log}_position_seq TO {yours}"] if appends else []),
        *(f"GRANT {what} ON {schema}.{quote(ours(table))} TO {yours}" for table, what in tables),
    ]


POSTGRESQL = Driver(
    name="postgresql",
    schemes={"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"},
    url_forms=("postgresql://…",),
    in_sqlalchemys_form=_with_hosts_apart,
    check_url=lambda _url: None,
    django_backends=frozenset({"postgresql", "postgis"}),
    check_options=_check_options,
    is_missing=lambda _url: False,
    tls_cure=tls.CURE_FOR_LIBPQ,
    has_server=True,
    engine_options=_engine_options,
    prepare_connections=_prepare_connections,
    prepare_for_batches=_prepare_for_batches,
    snapshot_options={"isolation_level": "REPEATABLE READ"},
    read_only_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    begin=_begin,
    begin_within=lambda _connection: None,
    as_one_statement=as_one_statement,
    as_one_update=None,
    waiting_briefly=_waiting_briefly,
    end_query=lambda _raw: None,  # each query commits by itself
    forget_warnings=standby.forget,
    check_commit=standby.check,
    wait_for_standby=_wait_for_standby,
    errors=ErrorCodes(
        code=_code,
        rolled_back=frozenset({"40001", "40P01"}),  # serialization failure, deadlock
        in_the_way=frozenset({"40001", "40P01", "55P03"}),  # lock not available
        denied=frozenset({"42501"}),
        read_only=frozenset({"25006"}),
        of_one_table=lambda code: str(code)[:2] in _CLASSES_OF_ONE_TABLE or code in _OF_ONE_TABLE,
        about_values=frozenset({None}),  # psycopg could not send a value: no server saw it
    ),
    columns=ColumnTypes(instant=postgresql.TIMESTAMP(timezone=True), keeps_zone=True, json_text=_PostgresJsonText()),
    clock="extract(epoch from clock_timestamp())::double precision",
    insert_or_change=_insert_or_change,
    insert_unless_there=_insert_unless_there,
    by_bytes=lambda column: sa.collate(column, "C"),
    exact=_exact,
    octets=lambda column: sa.func.octet_length(sa.cast(column, sa.Text)),
    through_index=lambda query, _table, _index: query,
    gaps=WritersKnown(_writers),
    relations=postgresql_tables.relations,
    table_of_trigger=lambda _connection, _name: None,
    schema_lock=_schema_lock,
    append_lock=InTransaction(_take_append_lock),
    sync_later=lambda _connection: None,
    index_names_are_the_tables_own=False,
    table_options={},
    too_narrow=lambda _connection, _table: frozenset(),  # the database has one encoding
    prepare_swap=postgresql_tables.prepare_swap,
    is_swapped=postgresql_tables.is_swapped,
    drop_table=postgresql_tables.drop,
    examine=postgresql_settings.examine,
    examine_writers=lambda _url, _writers: iter(()),
    log_size=lambda connection: postgresql_settings.log_size(connection, full(connection, LOG_TABLE)),
    grants=_grants,
)
