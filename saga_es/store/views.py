"""Views: tables that are a fold of the log, kept in the transaction that appends, and rebuilt from it at will.

There are two kinds, and both are written as a table and a function of a recorded event. The function sees the event
alone: no database, no clock. So the table can always be made again.

- `View`: one row per stream of one category. The function says which columns the event sets. The event at version 1
  makes the row, later ones change it, and `None` removes it.
- `Additions`: rows that are only ever added. The function says which rows the event adds; most add none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.engine.reflection import Inspector

from saga_es.store.log import Log, Recorded, by_stream

Change = Mapping[str, Any] | None
"""Columns to set; empty: this event does not matter here; None: the row goes."""


@dataclass(frozen=True)
class Projection(ABC):
    """A table that is made from the events of one category, and can be made again.

    Attributes:
        table: Where it is kept. It has a primary key.
        category: Whose events it is made from.
    """

    table: sa.Table
    category: str

    @property
    def name(self) -> str:
        """Its name is its table's."""
        return self.table.name

    @property
    def tables(self) -> tuple[sa.Table, ...]:
        """All that it is kept in."""
        return (self.table,)

    def create(self, connection: Connection) -> None:
        """Make its tables, empty; what stood there before is gone."""
        for table in self.tables:
            table.drop(connection, checkfirst=True)
            table.create(connection)

    @abstractmethod
    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Bring it up to date with further events of its category, in the transaction that appends them."""


@dataclass(frozen=True)
class View(Projection):
    """One row per stream of a category.

    Attributes:
        table: Its primary key is one text column that holds the stream id.
        change: Which columns an event sets; pure.
    """

    change: Callable[[Recorded], Change]

    @property
    def key(self) -> sa.Column[str]:
        """The column that holds the stream id."""
        (column,) = self.table.primary_key.columns
        return column

    def fold(self, events: Iterable[Recorded]) -> Change:
        """What the events of one stream, in order, set all together; a row once removed stays so."""
        row: dict[str, Any] = {}
        for event in events:
            change = self.change(event)
            if change is None:
                return None
            row |= change
        return row

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Touch each stream's row once, however many of its events there are."""
        key = self.key.name
        inserts: list[dict[str, Any]] = []
        updates: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        deletes: list[dict[str, Any]] = []
        blank: dict[str, Any] = dict.fromkeys(self.table.columns.keys())
        for stream_id, recorded in by_stream(events).items():
            row = self.fold(recorded)
            if recorded[0].version == 1:
                inserts += [{**blank, key: stream_id, **row}] if row else []
            elif row is None:
                deletes.append({"this_row": stream_id})
            elif row:
                updates[tuple(sorted(row))].append({"this_row": stream_id, **row})
        if inserts:
            connection.execute(_upsert(self.table, connection.dialect.name), inserts)
        for columns, rows in updates.items():
            connection.execute(_update(self.table, columns), rows)
        if deletes:
            connection.execute(_delete(self.table), deletes)


@dataclass(frozen=True)
class Additions(Projection):
    """Rows that events add, and nothing changes.

    Attributes:
        rows: The rows an event adds, each with every column; pure.
    """

    rows: Callable[[Recorded], Iterable[Mapping[str, Any]]]

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Add the rows; events that add none cost no statement."""
        added = [row for event in events for row in self.rows(event)]
        if added:
            connection.execute(_upsert(self.table, connection.dialect.name), added)


class Views:
    """All views of an application, applied together."""

    def __init__(self, views: Iterable[Projection]) -> None:
        self._views = tuple(views)
        self._of_category = _of_category(self._views)

    def __iter__(self) -> Iterator[Projection]:
        return iter(self._views)

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Bring the views up to date with events, in the transaction that appends them."""
        for category, recorded in _of_category(events).items():
            for view in self._of_category.get(category, ()):
                view.apply(connection, recorded)

    def create(self, connection: Connection, log: Log, *, anew: bool = False) -> list[str]:
        """Make those that are missing, and those that another version made otherwise (or all: `anew`), from the log.

        Columns are known by their names, whatever their types; indexes by their columns.

        Returns:
            The names of those that were made.
        """
        inspector = sa.inspect(connection)
        made = [view for view in self._views if anew or not _is_as_written(view, inspector)]
        for view in made:
            view.create(connection)
        for category, views in _of_category(made).items():
            for chunk in log.category(connection, category):
                for view in views:
                    view.apply(connection, chunk)
        return [view.name for view in made]


def _is_as_written(view: Projection, inspector: Inspector) -> bool:
    """Whether its tables are there, with the columns that the code has for them, and its indexes."""
    there = set(inspector.get_table_names())
    return all(
        table.name in there
        and {column["name"] for column in inspector.get_columns(table.name)} == {c.name for c in table.columns}
        # Somebody may have added an index; its name is not compared, for a database may have shortened it.
        and {tuple(index["column_names"]) for index in inspector.get_indexes(table.name)}
        >= {tuple(column.name for column in index.columns) for index in table.indexes}
        for table in view.tables
    )


T = TypeVar("T", Recorded, Projection)


def _of_category(things: Iterable[T]) -> dict[str, list[T]]:
    """Events or views, by category."""
    categories: dict[str, list[T]] = defaultdict(list)
    for thing in things:
        categories[thing.category].append(thing)
    return categories


# Built once each: building a statement costs more than executing it.


@cache
def _upsert(table: sa.Table, dialect: str) -> sa.Insert:
    # A row that should not be there yet is a fault of the view, and must never stop the log.
    match dialect:
        case "mysql" | "mariadb":
            statement = mysql.insert(table)
            return statement.on_duplicate_key_update({c.name: statement.inserted[c.name] for c in table.columns})
        case "postgresql":
            insert: postgresql.Insert | sqlite.Insert = postgresql.insert(table)
        case _:
            insert = sqlite.insert(table)
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={c.name: insert.excluded[c.name] for c in table.columns}
    )


@cache
def _update(table: sa.Table, columns: tuple[str, ...]) -> sa.Update:
    (key,) = table.primary_key.columns
    return sa.update(table).where(key == sa.bindparam("this_row")).values({c: sa.bindparam(c) for c in columns})


@cache
def _delete(table: sa.Table) -> sa.Delete:
    (key,) = table.primary_key.columns
    return sa.delete(table).where(key == sa.bindparam("this_row"))
