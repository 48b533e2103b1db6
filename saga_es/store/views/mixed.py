"""Built-in views that several versions of saga_es write at once, in a rolling upgrade.

A newer version may add columns to a built-in view. Older processes go on writing the columns that they know, so their
rows lack the others. Such a view is marked, and made anew when no older worker is left.

Owns: that a view that was written by an older version does not stay as it is; that an older version never makes a view
anew that has columns it does not know. The mark is a record in the registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from saga_es.logs import logger
from saga_es.store import registry, revision
from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.names import full
from saga_es.store.registry import Kind
from saga_es.store.tables import saga_tables, saga_workers
from saga_es.store.views.kinds import Projection
from saga_es.store.views.saga_view import sagas
from saga_es.store.views.tags import saga_tags

P = TypeVar("P", bound=Projection)

BUILT_IN = frozenset({str(sagas.name), str(saga_tags.name)})

_IS_MARK = saga_tables.c.kind == Kind.MIXED.value


def earlier_workers(connection: Connection) -> list[str]:
    """The workers of earlier versions that have a row."""
    migration = saga_workers.c.migration
    is_earlier = migration.is_(None) | (migration < revision.number(revision.HEAD))
    return list(connection.scalars(sa.select(saga_workers.c.worker_id).where(is_earlier)))


def mark(connection: Connection, views: Iterable[Projection]) -> None:
    """Mark built-in views as written by an older version; whoever has all columns makes them anew later.

    A role that may not write the registry leaves no mark, and says so: the owner of the tables can make them anew.
    """
    wanted = [view for view in views if view.name in BUILT_IN]
    there = marked(connection, wanted)
    try:
        for view in (view for view in wanted if view not in there):
            with connection.begin_nested():
                registry.record(connection, view.name, (), Kind.MIXED)
    except DBAPIError as error:
        errors = driver_of(connection.dialect).errors
        if errors.code(error.orig) not in errors.denied:
            raise
        cure = "when this process has ended, run `saga-es replay` of the newer version as the owner of the tables"
        logger.warning("a view lacks what this version does not write", views=[v.name for v in wanted], cure=cure)


def unmark(connection: Connection, views: Iterable[Projection]) -> None:
    """Remove the marks of views that were made anew."""
    names = [full(connection, view.name) for view in views]
    connection.execute(sa.delete(saga_tables).where(_IS_MARK, saga_tables.c.name.in_(names)))


def marked(connection: Connection, views: Iterable[P]) -> list[P]:
    """The views that are marked."""
    names = marks(connection)
    return [view for view in views if full(connection, view.name) in names] if names else []


def marks(connection: Connection) -> set[str]:
    """The names that the marked views have in the database."""
    return set(connection.scalars(sa.select(saga_tables.c.name).where(_IS_MARK)))


def due(connection: Connection, views: Iterable[P]) -> list[P]:
    """The views that are to be made anew now, because no earlier worker is left that writes them."""
    found = marked(connection, views)
    if not found or earlier_workers(connection):
        return []
    newer = of_newer(connection, found)
    return [view for view in found if view not in newer]


def of_newer(connection: Connection, views: Iterable[P]) -> list[P]:
    """The built-in views that a newer version has made, with columns that this version does not know."""
    if not revision.is_newer(revision.current(connection)):
        return []
    return [
        view
        for view in views
        if view.name in BUILT_IN
        and registry.exists(connection, view.name)
        and registry.columns_in(connection, full(connection, view.name)) > registry.columns_of(view.table)
    ]
