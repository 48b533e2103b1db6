"""Comparing views with the log, without changing anything.

One snapshot holds both, at the same position. The rows that the log gives are built in a temporary table of the
connection, which ends with the connection. Nobody who reads or appends waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import ProjectionFailed, StoreUnavailable
from saga_es.store import registry
from saga_es.store.database import Database
from saga_es.store.drivers.columns import KeyText
from saga_es.store.drivers.driver import driver_of
from saga_es.store.log.log import Log
from saga_es.store.tables import saga_archives
from saga_es.store.views import checkpoints
from saga_es.store.views.building import Builder, Progress
from saga_es.store.views.checkpoints import Checkpoint
from saga_es.store.views.kinds import Projection, widen
from saga_es.store.views.rebuild import is_as_written
from saga_es.store.views.shadows import shadow
from saga_es.store.views.swapped import Swapped, refuse_swapped, swaps_told

DRY = "__dry"
"""The suffix of the temporary table."""

ATTEMPTS = 5
"""How often to start again after a replay has replaced the tables that are compared."""

EXAMPLES = 3
"""Rows of a kind that are named by default."""


class ViewDifference(msgspec.Struct, frozen=True, tag="view", tag_field="kind"):
    """One difference between a view and the fold of the log.

    Attributes:
        view: The name of the view.
        what: The difference, in a few words.
        key: The key of the row; None: the difference is about the whole table.
        column: The column; None: it is about the whole row.
        found: What is in the table, as text; None: NULL.
        folded: What should be in the table.
    """

    view: str
    what: str
    key: str | None = None
    column: str | None = None
    found: str | None = None
    folded: str | None = None

    def __str__(self) -> str:
        where = f"view {self.view}" + (f", row {self.key}" if self.key is not None else "")
        if self.column is None:
            return f"{where}: {self.what}"
        return f"{where}, column {self.column}: is {_shown(self.found)}, should be {_shown(self.folded)}"


def _shown(text: str | None) -> str:
    return "NULL" if text is None else repr(text)


@dataclass(frozen=True)
class Comparison:
    """How a view differs from the fold of the log.

    Attributes:
        position: The end of the fold: the end of the log, or the checkpoint of an asynchronous view.
        rows: How many rows there should be.
        missing: Rows that should exist, and do not.
        surplus: Rows that exist, and should not.
        different: Rows that exist and should, but differ in a column.
        examples: Keys of some such rows.
        differences: Some of the differences.
        problem: Why it cannot be compared: the table is missing, or its columns are another version's.
        failed: The event at which the view fails; then it could not be built.
    """

    view: Projection
    position: int
    rows: int
    missing: int = 0
    surplus: int = 0
    different: int = 0
    examples: tuple[str, ...] = ()
    differences: tuple[ViewDifference, ...] = ()
    problem: str | None = None
    failed: ProjectionFailed | None = None

    @property
    def is_equal(self) -> bool:
        """Whether the view is what it should be."""
        return not (self.missing or self.surplus or self.different or self.problem or self.failed)

    def lines(self) -> Iterator[ViewDifference]:
        """All known differences, and how many more rows differ."""
        why = self.problem or (str(self.failed) if self.failed else None)
        if why is not None:
            yield ViewDifference(str(self.view.name), why)
        yield from self.differences
        rows = self.missing + self.surplus + self.different
        more = rows - len({difference.key for difference in self.differences})
        if more:
            yield ViewDifference(str(self.view.name), f"{more:,} more rows differ")


def compare(
    database: Database,
    log: Log,
    views: Iterable[Projection],
    progress: Progress,
    until: int | None = None,
    named: int = EXAMPLES,
) -> list[Comparison]:
    """Compare views with the fold of the log, each as a whole.

    Args:
        database: The database of the views.
        log: The log.
        views: The views to compare.
        progress: Receives the position that has been reached, and the last position.
        until: Compare with the fold up to this position (inclusive), not with the fold of the whole log.
        named: How many rows of a kind are named.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    wanted = list(views)
    for _ in range(ATTEMPTS):
        with suppress(Swapped), _snapshot(database) as connection:
            compared = _all_compared(connection, database, log, wanted, progress, until, named)
            refuse_swapped(connection, [view.name for view in wanted])
            return compared
    raise StoreUnavailable(f"replays replaced the views {ATTEMPTS} times meanwhile; repeat it when they are over")


def _all_compared(
    connection: Connection,
    database: Database,
    log: Log,
    views: Sequence[Projection],
    progress: Progress,
    until: int | None,
    named: int,
) -> list[Comparison]:
    stands = {name: checkpoint.position for name, checkpoint in checkpoints.read(connection).items()}
    behind = checkpoints.behind(connection)
    groups: dict[int | None, list[Projection]] = {}
    for view in views:
        groups.setdefault(until if until is not None else stands.get(view.name), []).append(view)
    with swaps_told(database.driver.errors):
        return [
            _with_mark(comparison, behind.get(comparison.view.name))
            for end, group in groups.items()
            for comparison in _compared(
                connection, Builder(connection, database, log, group, DRY, progress), end, named
            )
        ]


def _with_mark(comparison: Comparison, mark: Checkpoint | None) -> Comparison:
    """The comparison of a view that is marked as behind says so, and why."""
    if mark is None or mark.pending.behind is None or comparison.problem or comparison.failed:
        return comparison
    failed = mark.pending.behind
    at = f"position {failed.position}, {failed.type} of stream {failed.stream_id!r}"
    return replace(comparison, problem=f"it is behind since {at}: {failed.error}; `saga-es replay` makes it anew")


@contextmanager
def _snapshot(database: Database) -> Iterator[Connection]:
    with database.reading() as connection:
        connection.execution_options(**database.driver.snapshot_options)
        connection.detach()  # so that temporary tables end with it
        yield connection


def _compared(connection: Connection, builder: Builder, until: int | None, named: int) -> Iterator[Comparison]:
    views = list(builder.views)
    tables = {view.name: shadow(view, DRY, driver_of(connection.dialect), "TEMPORARY").table for view in views}
    for table in tables.values():
        table.indexes.clear()
        widen(table, connection.dialect)
        table.create(connection)
    position, _ = builder.catch_up(until, is_long=True)
    for view in views:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(tables[view.name])) or 0
        failed = builder.failures.get(view.name)
        if failed is not None:
            yield Comparison(view, position, rows, failed=failed)
        elif not registry.exists(connection, view.name):
            yield Comparison(view, position, rows, problem="there is no such table")
        elif not is_as_written(view.table, connection):
            yield Comparison(view, position, rows, problem="the table is another version's")
        elif view.keeps_archived and _has_archived(connection):  # the log cannot say any more what its sums should be
            yield Comparison(view, position, rows)
        else:
            compared = _Compared(connection, view, tables[view.name], named)
            yield compared.comparison(position, rows)


def _has_archived(connection: Connection) -> bool:
    return connection.execute(sa.select(saga_archives.c.stream_id).limit(1)).first() is not None


class _Compared:
    """The table of a view beside the table that it should be."""

    def __init__(self, connection: Connection, view: Projection, wanted: sa.Table, named: int) -> None:
        self._connection = connection
        self._view = view
        self._name = str(view.name)  # SQLAlchemy's text type has no JSON form
        self._wanted = wanted
        self._named = named
        self._keys = [str(column.name) for column in view.table.primary_key.columns]
        self._others = [str(column.name) for column in view.table.columns if not column.primary_key]
        self._same_row = sa.and_(*(wanted.c[name] == view.table.c[name] for name in self._keys))

    def comparison(self, position: int, rows: int) -> Comparison:
        """How they differ."""
        queries = (self._missing(), self._surplus(), self._different())
        counts = [self._connection.scalar(sa.select(sa.func.count()).select_from(q.subquery())) or 0 for q in queries]
        differences = [
            d for query, count in zip(queries, counts, strict=True) if count for d in self._differences(query)
        ]
        examples = tuple(dict.fromkeys(difference.key for difference in differences if difference.key))[:EXAMPLES]
        more, fewer, other = counts
        return Comparison(self._view, position, rows, more, fewer, other, examples, tuple(differences))

    def _missing(self) -> sa.Select[Any]:
        there = sa.exists(sa.select(sa.literal(1)).select_from(self._view.table).where(self._same_row))
        what = sa.literal("it is missing").label("what")
        return sa.select(what, *(self._wanted.c[name] for name in self._keys)).where(~there)

    def _surplus(self) -> sa.Select[Any]:
        wanted = sa.exists(sa.select(sa.literal(1)).select_from(self._wanted).where(self._same_row))
        what = sa.literal("it should not be there").label("what")
        table = self._view.table
        texts = [table.c[name] for name in self._keys if isinstance(table.c[name].type, (sa.String, KeyText))]
        # A view may keep the rows of archived streams: the log no longer says what they should be.
        archived = [sa.exists().where(saga_archives.c.stream_id == column) for column in texts]
        return sa.select(what, *(table.c[name] for name in self._keys)).where(~wanted, *(~found for found in archived))

    def _different(self) -> sa.Select[Any]:
        table, wanted = self._view.table, self._wanted
        columns = [
            column
            for name in self._others
            for column in (
                table.c[name].label(f"{name}__found"),
                wanted.c[name].label(f"{name}__folded"),
                self._differs(name).label(f"{name}__differs"),
            )
        ]
        differs = sa.or_(sa.false(), *(self._differs(name) for name in self._others))
        keys = (table.c[name] for name in self._keys)
        return sa.select(*keys, *columns).select_from(table.join(wanted, self._same_row)).where(differs)

    def _differs(self, name: str) -> sa.ColumnElement[bool]:
        found, folded = self._view.table.c[name], self._wanted.c[name]
        exact = driver_of(self._connection.dialect).exact
        return exact(folded).is_distinct_from(exact(found))

    def _differences(self, query: sa.Select[Any]) -> Iterator[ViewDifference]:
        for row in self._connection.execute(query.order_by(*self._keys).limit(self._named)).mappings():
            key = "/".join(str(row[name]) for name in self._keys)
            if "what" in row:
                yield ViewDifference(self._name, row["what"], key)
                continue
            for name in self._others:
                if row[f"{name}__differs"]:
                    found, folded = (_text(row[f"{name}__{which}"]) for which in ("found", "folded"))
                    yield ViewDifference(self._name, "it differs", key, name, found, folded)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
