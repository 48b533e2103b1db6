"""Replays: making views anew from the log, while it is written to and they are read.

New tables are built beside the views' own. Near the end of the log all appends are held back for a moment: the last few
events are applied, and all new tables take the places of the old ones. An interruption at any moment leaves the old
views unchanged.

Owns: that a view put in service equals the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from saga_es.errors import ProjectionFailed, StoreUnavailable
from saga_es.store import registry
from saga_es.store.database import Database
from saga_es.store.drivers.append_lock import InTransaction, OnAnotherConnection
from saga_es.store.drivers.driver import Swap, driver_of
from saga_es.store.drivers.names import full, ours
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.log import Log
from saga_es.store.log.tail import Tail
from saga_es.store.registry import Kind
from saga_es.store.views import checkpoints
from saga_es.store.views.building import Builder, Progress
from saga_es.store.views.charsets import has_own_charset
from saga_es.store.views.kinds import NEW, OLD, UNTIL, Projection
from saga_es.store.views.shadows import clear, swapping

TIMEOUT_S = 120.0
"""How long to wait for transactions that hold the log or a view."""

PAUSE_S = 0.5


@dataclass(frozen=True)
class Rebuilt:
    """The result for one view.

    Attributes:
        table: Its table.
        rows: How many rows it has; None when it failed.
        failed: The event at which it failed, and why; then its table is unchanged.
    """

    view: Projection
    table: str
    rows: int | None
    failed: ProjectionFailed | None = None


@dataclass(frozen=True)
class Rebuilding:
    """The result for all views.

    Attributes:
        position: The position that the views have reached.
        events: How many events were read.
        took_s: Seconds from the first event to the last.
        held_s: Seconds during which nobody could append.
        unread: How many events of each kind this version cannot read; the views lack them.
    """

    views: Sequence[Rebuilt]
    position: int
    events: int
    took_s: float
    held_s: float
    unread: Mapping[str, int] = field(default_factory=dict)


def _report_nothing(_position: int, _last: int) -> None:
    """Report no progress."""


def rebuild(
    connection: Connection,
    database: Database,
    log: Log,
    views: Iterable[Projection],
    progress: Progress = _report_nothing,
) -> Rebuilding:
    """Make views anew, and put those that do not fail in service together.

    Args:
        connection: In no transaction; it holds the schema lock.
        database: The same database, to read the log through.
        log: The log.
        views: The views to make.
        progress: Receives the position that has been reached, and the last position.

    Raises:
        NotOurs: Something that saga_es did not make has the name of a table of ours; nothing changed.
        StoreUnavailable: The database did not answer, or a transaction was in the way for too long; nothing changed.
    """
    wanted = list(views)
    names = [view.name for view in wanted]
    began = monotonic_s()
    database.driver.sync_later(connection)
    with connection.begin():
        settle_swaps(connection)  # first: the tables show whether a swap took place, and are dropped below
        registry.claimed(connection, [name + suffix for name in names for suffix in ("", OLD, NEW)])
    clear(connection, names, OLD, UNTIL)
    builder = Builder(connection, database, log, wanted, NEW, progress)
    builder.make_tables()
    held_s = _put_in_service(connection, database, log, builder)
    took_s = monotonic_s() - began
    clear(connection, names, OLD, NEW)
    return _report(connection, wanted, builder, "", (took_s, held_s))


def build_until(
    connection: Connection, database: Database, log: Log, views: Iterable[Projection], until: int, progress: Progress
) -> Rebuilding:
    """Make views as of a position (inclusive) in tables of their own; the views in service are unchanged."""
    wanted = list(views)
    began = monotonic_s()
    builder = Builder(connection, database, log, wanted, UNTIL, progress)
    builder.make_tables()
    builder.fill(Tail(database, log), until)
    took_s = monotonic_s() - began
    clear(connection, builder.failures, UNTIL)
    return _report(connection, wanted, builder, UNTIL, (took_s, 0.0))


def _put_in_service(connection: Connection, database: Database, log: Log, builder: Builder) -> float:
    """Fill the tables to the end of the log, and swap them; the seconds in which nobody could append."""
    tail = Tail(database, log)
    give_up_at = monotonic_s() + TIMEOUT_S
    while True:
        builder.fill(tail)
        if not builder.views:
            return 0.0
        with connection.begin():
            swap = swapping(connection, [view.name for view in builder.views])
        try:
            return _finish(connection, database, builder, swap)
        except (DBAPIError, StoreUnavailable) as error:
            if not _is_in_the_way(database, error):
                raise
            if monotonic_s() > give_up_at:
                raise StoreUnavailable(
                    f"a transaction has held the log or a view for {TIMEOUT_S:g} s, and the new views "
                    "could not take their places; end that transaction, and repeat it"
                ) from error
            time.sleep(PAUSE_S)


def _is_in_the_way(database: Database, error: Exception) -> bool:
    """Whether another transaction was in the way; `alone` has already translated its error."""
    errors = database.driver.errors
    found = error.__cause__ if isinstance(error, StoreUnavailable) else error
    return errors.code(getattr(found, "orig", None)) in errors.in_the_way


def _finish(connection: Connection, database: Database, builder: Builder, swap: Swap) -> float:
    """Hold appends back, apply the rest, and swap; the seconds that took."""
    match database.driver.append_lock:
        case InTransaction(take):
            return _finish_in_one(connection, builder, swap, take)
        case OnAnotherConnection() as lock:
            lock.wait_briefly(connection)
            with database.alone() as holder:
                lock.wait_briefly(holder)
                return _finish_beside(connection, holder, builder, swap, lock)


def _finish_in_one(
    connection: Connection, builder: Builder, swap: Swap, take_lock: Callable[[Connection], None]
) -> float:
    began = monotonic_s()
    with connection.begin():
        take_lock(connection)
        reached = builder.catch_up()
        _swap(connection, builder, reached[0], swap)
    builder.commit(reached)
    return monotonic_s() - began


def _finish_beside(
    connection: Connection, holder: Connection, builder: Builder, swap: Swap, lock: OnAnotherConnection
) -> float:
    began = monotonic_s()
    with lock.held(holder):
        with connection.begin():
            reached = builder.catch_up()
        builder.commit(reached)  # this is committed; the rest may fail, and is then repeated
        with connection.begin():
            _swap(connection, builder, builder.position, swap)
    return monotonic_s() - began


def _swap(connection: Connection, builder: Builder, position: int, swap: Swap) -> None:
    names = [view.name for view in builder.views]
    following = [view.name for view in builder.views if view.follows]
    # A crash after a swap outside the transaction leaves a table that is ahead of its checkpoint.
    for name in following:
        checkpoints.mark_swap(connection, name, position)
    for view in builder.views:
        registry.copy(connection, view.name, view.name + OLD)
        registry.record(connection, view.name, registry.columns_of(view.table), Kind.VIEW)
    _put_in_place(connection, builder, swap)
    for view in builder.views:
        registry.forget(connection, view.name, except_with=registry.columns_of(view.table))
        registry.forget(connection, view.name + NEW)
        if not registry.exists(connection, view.name + OLD):  # some databases have dropped it by now
            registry.forget(connection, view.name + OLD)
    checkpoints.forget(connection, names)
    for name in following:
        checkpoints.begin(connection, name, position)


def _put_in_place(connection: Connection, builder: Builder, swap: Swap) -> None:
    if builder.failed_last:  # the swap was prepared for the failed view, too
        swap = swapping(connection, [view.name for view in builder.views])
    swap()


def _report(
    connection: Connection,
    views: Iterable[Projection],
    builder: Builder,
    suffix: str,
    times_s: tuple[float, float],
) -> Rebuilding:
    rebuilt: list[Rebuilt] = []
    with connection.begin():
        for view in views:
            failed = builder.failures.get(view.name)
            table = view.name + (suffix if failed is None else "")
            count = sa.select(sa.func.count()).select_from(sa.table(ours(table)))
            rows = connection.scalar(count) if failed is None else None
            rebuilt.append(Rebuilt(view, table, rows, failed))
    return Rebuilding(rebuilt, builder.position, builder.events, *times_s, builder.unread)


def settle_swaps(connection: Connection) -> None:
    """Find out whether a swap that was interrupted on MySQL took place, and let the views advance again."""
    for checkpoint in checkpoints.read(connection).values():
        if checkpoint.pending.swap is not None:
            has_taken_place = not registry.is_ours(connection, checkpoint.name + NEW)
            reached = checkpoint.pending.swap if has_taken_place else checkpoint.position
            checkpoints.begin(connection, checkpoint.name, reached)


# ── Which views have to be made ──────────────────────────────────────────────────────────────────────────


def create(connection: Connection, views: Iterable[Projection]) -> None:
    """Make views of an empty log."""
    for view in views:
        registry.record(connection, view.name, registry.columns_of(view.table), Kind.VIEW)
        view.create(connection)
        if view.follows:
            checkpoints.begin(connection, view.name, 0)
        else:
            checkpoints.forget(connection, [view.name])


def not_as_written(connection: Connection, views: Iterable[Projection]) -> list[Projection]:
    """The views whose tables are missing, or behind, or were made by another version of the code.

    Columns are known by their names, whatever their types, if they hold each character; indexes by their columns.
    """
    following, behind = checkpoints.read(connection), checkpoints.behind(connection)
    return [
        view
        for view in views
        if view.follows != (view.name in following) or view.name in behind or not is_as_written(view.table, connection)
    ]


def is_as_written(table: sa.Table, connection: Connection) -> bool:
    """Whether a table exists, with the columns that the code has for it, and its indexes."""
    name = full(connection, table.name)
    return (
        registry.exists(connection, table.name)
        and registry.columns_in(connection, name) == registry.columns_of(table)
        # Users may add indexes. Names are not compared, for a database may have shortened them.
        and {tuple(index["column_names"]) for index in sa.inspect(connection).get_indexes(name)}
        >= {tuple(column.name for column in index.columns) for index in table.indexes}
        and not _is_too_narrow(table, connection)
    )


def _is_too_narrow(table: sa.Table, connection: Connection) -> bool:
    """Whether a column lacks characters, because the table was made with the charset of its database."""
    narrow = driver_of(connection.dialect).too_narrow(connection, full(connection, table.name))
    return any(not has_own_charset(table, column) for column in narrow)
