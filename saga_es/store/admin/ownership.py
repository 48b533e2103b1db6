"""Which tables of a database are ours, before anything is changed: those in the registry, and no others.

A database of 0.1.0 has no registry. Its tables are adopted once, when the registry is made, and only if they are
exactly what 0.1.0 made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import NotOurs, UnknownTable
from saga_es.store import registry
from saga_es.store.database import Database
from saga_es.store.drivers.driver import TABLE, driver_of
from saga_es.store.drivers.names import OurName, full, ours
from saga_es.store.registry import Kind
from saga_es.store.schema_lock import schema_lock
from saga_es.store.tables import VERSION_TABLE, metadata, saga_checkpoints, saga_tables
from saga_es.store.views import checkpoints
from saga_es.store.views.kinds import SUFFIXES, Projection
from saga_es.store.views.shadows import clear, drop

Columns = frozenset[str]

FIRST: dict[str, Columns] = {
    "saga_events": frozenset(["position", "stream_id", "category", "version", "type", "data", "recorded_at"]),
    "saga_archives": frozenset(["stream_id", "version", "hash", "archive", "archived_at"]),
    "saga_checkpoints": frozenset(["name", "position", "pending", "updated_at"]),
    "saga_bells": frozenset(["saga_id", "version"]),
    "saga_workers": frozenset(["worker_id", "host", "pid", "pid_started", "heartbeat_at"]),
    "saga_subjects": frozenset(["key_id", "tenant", "subject", "wrapped", "wrapped_by", "made_at"]),
    VERSION_TABLE: frozenset(["version_num"]),
}
"""The columns with which 0.1.0, or a later migration, made each table that migrations keep. Others only add to them.

Alembic may have run by itself, or been killed, before there was a registry: then a table is known by them.
"""

VIEWS_0_1_0: dict[str, Columns] = {
    "sagas": frozenset(
        [
            "saga_id",
            "name",
            "plan_id",
            "status",
            "owner",
            "paused",
            "parent",
            "current_step",
            "error",
            "has_error",
            "created_at",
            "updated_at",
        ]
    ),
    "saga_tags": frozenset(["saga_id", "name", "value", "created_at"]),
}
"""The columns of the built-in views of 0.1.0."""

SCRATCH = ours("saga_events_chained")
"""Migration 0003 makes it on SQLite, and renames it."""


def settle(connection: Connection, views: Sequence[Projection], *, is_to_migrate: bool) -> None:
    """Make sure that whatever has a name of ours is ours; make the registry where there is none.

    Args:
        connection: In a transaction; it holds the schema lock.
        views: The views of the application.
        is_to_migrate: Whether the tables that migrations keep are to be changed.

    Raises:
        NotOurs: Something that we did not make has a name of ours. Nothing was changed.
    """
    if not _is_complete(connection):
        _make_registry(connection, views)
    elif is_to_migrate:
        _adopt_again(connection, views)
    fixed = [*_fixed(), SCRATCH] if is_to_migrate else []
    tables = [view.table for view in views] + (list(metadata.tables.values()) if is_to_migrate else [])
    there = registry.claimed(connection, [*fixed, *(view.name for view in views), *_indexes(connection, tables)])
    for name in set(_fixed()) - there if is_to_migrate else ():
        registry.record(connection, name, _first(name), Kind.FIXED)


def _fixed() -> list[OurName]:
    return [VERSION_TABLE, *(ours(table.name) for table in metadata.tables.values())]


def _first(name: str) -> Columns:
    return FIRST.get(name) or registry.columns_of(metadata.tables[name])


def _indexes(connection: Connection, tables: Iterable[sa.Table]) -> Iterator[str]:
    """The names of the indexes of tables that are to be made, where an index of another table can have them."""
    if driver_of(connection.dialect).index_names_are_the_tables_own:
        return
    written = connection.dialect.identifier_preparer
    prefix = full(connection, "")
    for table in tables:
        if not registry.exists(connection, table.name):
            for index in table.indexes:
                yield str(written.format_constraint(index, _alembic_quote=False)).removeprefix(prefix)


# ── The registry ─────────────────────────────────────────────────────────────────────────────────────────


def _is_complete(connection: Connection) -> bool:
    """Whether the registry is there, and has its own record: it is written with those of all that was adopted."""
    name = full(connection, saga_tables.name)
    kind = registry.relations(connection, [name]).get(name)
    if kind is None:
        return False
    columns = registry.columns_in(connection, name) if kind == TABLE else frozenset()
    if not columns >= registry.columns_of(saga_tables):
        raise NotOurs({name: registry.described(columns) if kind == TABLE else registry.an(kind)})
    return registry.is_ours(connection, saga_tables.name)


def _make_registry(connection: Connection, views: Sequence[Projection], known: Collection[str] = ()) -> None:
    """Make the registry, with the record of each table that is ours.

    Args:
        connection: In a transaction.
        views: The views of the application.
        known: Those whose tables are ours, whatever they look like.
    """
    adopted, strangers = _sorted_out(connection, [view for view in views if view.name not in known])
    if strangers:
        raise NotOurs(strangers)
    if not registry.exists(connection, saga_tables.name):
        saga_tables.create(connection, checkfirst=False)
    for name in _fixed():
        registry.record(connection, name, _first(name), Kind.FIXED)
    for view, columns, kind in adopted:
        registry.record(connection, view, columns, kind)


def _adopt_again(connection: Connection, views: Sequence[Projection]) -> None:
    """Record built-in views as ours that 0.1.0 has made anew, when a database with a registry was taken back to it."""
    for view in views:
        there = _there(connection, view.name)
        if there is not None and there.kind == TABLE and there.columns == VIEWS_0_1_0.get(view.name):
            registry.record(connection, view.name, there.columns, Kind.VIEW)


def _sorted_out(
    connection: Connection, views: Sequence[Projection]
) -> tuple[list[tuple[str, Columns, Kind]], dict[str, str]]:
    """What 0.1.0 made, and what somebody else made, among all that has a name of ours."""
    adopted: list[tuple[str, Columns, Kind]] = []
    strangers: dict[str, str] = {}
    knows = _Knowledge.of(connection)
    for name in (*_fixed(), SCRATCH):
        there = _there(connection, name)
        if there is not None and name != saga_tables.name and not _is_as_first(name, there):
            strangers[full(connection, name)] = there.what
    for view in views:
        there = _there(connection, view.name)
        if there is not None and knows.made(view, there):
            adopted.append((view.name, there.columns, Kind.VIEW))
            adopted += _leftovers(connection, view.name, {there.columns, registry.columns_of(view.table)})
        elif there is not None:
            strangers[full(connection, view.name)] = there.what
    return adopted, strangers


class _There(NamedTuple):
    """What has a name of ours; its columns if it is a table."""

    kind: str
    columns: Columns

    @property
    def what(self) -> str:
        return registry.described(self.columns) if self.kind == TABLE else registry.an(self.kind)


def _there(connection: Connection, name: str) -> _There | None:
    there = full(connection, name)
    kind = registry.relations(connection, [there]).get(there)
    if kind is None:
        return None
    return _There(kind, registry.columns_in(connection, there) if kind == TABLE else frozenset())


def _is_as_first(name: str, there: _There) -> bool:
    """Whether a table is as 0.1.0 made it, perhaps with columns that a killed upgrade has added."""
    if name not in FIRST:
        return False
    most = FIRST[name] if name == VERSION_TABLE else registry.columns_of(metadata.tables[name])
    return FIRST[name] <= there.columns <= most


class _Knowledge(NamedTuple):
    """What a database without a registry shows about its views: whether it was migrated, and who has a checkpoint."""

    is_migrated: bool
    following: Collection[str]

    @classmethod
    def of(cls, connection: Connection) -> _Knowledge:
        there = _there(connection, saga_checkpoints.name)
        is_ours = there is not None and there.columns == FIRST["saga_checkpoints"]
        following = set(connection.scalars(sa.select(saga_checkpoints.c.name))) if is_ours else set()
        return cls(registry.exists(connection, VERSION_TABLE), following)

    def made(self, view: Projection, there: _There) -> bool:
        """Whether 0.1.0 made the table of a view."""
        if there.kind != TABLE:
            return False
        is_built_in = there.columns == VIEWS_0_1_0.get(view.name)
        is_as_written = self.is_migrated and there.columns == registry.columns_of(view.table)
        return is_built_in or is_as_written or view.name in self.following


def _leftovers(connection: Connection, name: str, forms: set[Columns]) -> Iterator[tuple[str, Columns, Kind]]:
    """The tables of an interrupted replay of 0.1.0."""
    for suffix in SUFFIXES:
        there = _there(connection, name + suffix)
        if there is not None and there.kind == TABLE and there.columns in forms:
            yield name + suffix, there.columns, Kind.SHADOW


# ── On command ───────────────────────────────────────────────────────────────────────────────────────────


def adopt(database: Database, views: Sequence[Projection], names: Iterable[str]) -> None:
    """Record that the tables of these views are ours, whatever their columns are now.

    Args:
        database: The database.
        views: The views of the application.
        names: The names of the tables in the database.

    Raises:
        UnknownTable: No view of the application has such a table, or it does not exist.
        NotOurs: Something else has a name of ours; nothing was changed.
        StoreUnavailable: The database did not answer.
    """
    with schema_lock(database) as connection, connection.begin():
        by_name = {full(connection, view.name): view for view in views}
        wanted = [_view_of(connection, by_name, name) for name in names]
        if not _is_complete(connection):
            _make_registry(connection, views, {view.name for view in wanted})
        for view in wanted:
            columns = registry.columns_in(connection, full(connection, view.name))
            registry.record(connection, view.name, columns, Kind.VIEW)


def _view_of(connection: Connection, by_name: Mapping[str, Projection], name: str) -> Projection:
    view = by_name.get(name)
    if view is None:
        raise UnknownTable(name, f"it is no table of a view of the application; there are {', '.join(by_name)}")
    if not registry.exists(connection, view.name):
        raise UnknownTable(name, "there is no such table in the database")
    return view


def drop_view(database: Database, views: Sequence[Projection], name: str) -> None:
    """Drop the table of a view that the application no longer has, with what replays left of it.

    Args:
        database: The database.
        views: The views that the application has.
        name: The name of the table in the database.

    Raises:
        UnknownTable: The application has the view, or saga_es made no such view.
        NotOurs: The table is not the one that saga_es made; nothing was changed.
        StoreUnavailable: The database did not answer.
    """
    with schema_lock(database) as connection:
        with connection.begin():
            if name in {full(connection, view.name) for view in views}:
                raise UnknownTable(name, "the application has this view; take it out first, or run `saga-es replay`")
            views_made = sorted({made.name for made in registry.made(connection) if made.kind is Kind.VIEW})
            if name not in views_made:
                raise UnknownTable(name, f"saga_es made no view of this name; it made {', '.join(views_made)}")
            code = name.removeprefix(full(connection, ""))
            there = registry.claimed(connection, [code])
            checkpoints.forget(connection, [code])
        clear(connection, [code], *SUFFIXES)
        for table in there:
            drop(connection, table)
        with connection.begin():
            registry.forget(connection, code)
