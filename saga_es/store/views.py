"""Views: tables that are a fold of the log, kept in the transaction that appends, and rebuilt from it at will.

A view here has one row per stream of one category, and is written as a table and a function: given a recorded
event, which columns does it set? The event at version 1 makes the row, later ones change it, and `None` removes
it. The function sees the event alone: no database, no clock. So the table can always be made again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from saga_es.store.log import Log, Recorded, by_stream

Change = Mapping[str, Any] | None
"""Columns to set; empty: this event does not matter here; None: the row goes."""


@dataclass(frozen=True)
class View:
    """One row per stream of a category.

    Attributes:
        table: Its primary key is one text column that holds the stream id.
        category: Whose events it folds.
        change: Which columns an event sets; pure.
    """

    table: sa.Table
    category: str
    change: Callable[[Recorded], Change]

    @property
    def name(self) -> str:
        """The view's name is its table's."""
        return self.table.name

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


class Views:
    """All views of an application, applied together."""

    def __init__(self, views: Iterable[View]) -> None:
        self._views = tuple(views)
        self._of_category: dict[str, list[View]] = defaultdict(list)
        for view in self._views:
            self._of_category[view.category].append(view)

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Bring the views up to date with events, in the transaction that appends them.

        Each view is touched once per stream, however many of its events the batch holds.
        """
        for category, recorded in _by_category(events).items():
            for view in self._of_category[category]:
                _apply(connection, view, recorded)

    def create(self, connection: Connection, log: Log, *, anew: bool = False) -> list[str]:
        """Make the tables that are missing (or all: `anew`) and fill them from the log; the names of those made."""
        there = set(sa.inspect(connection).get_table_names())
        for view in self._views if anew else ():
            view.table.drop(connection, checkfirst=True)
        missing = [view for view in self._views if anew or view.name not in there]
        for view in missing:
            view.table.create(connection)
            for chunk in log.category(connection, view.category):
                _apply(connection, view, chunk)
        return [view.name for view in missing]


def _by_category(events: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    categories: dict[str, list[Recorded]] = defaultdict(list)
    for event in events:
        categories[event.category].append(event)
    return categories


def _apply(connection: Connection, view: View, events: Sequence[Recorded]) -> None:
    key = view.key.name
    inserts: list[dict[str, Any]] = []
    updates: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    deletes: list[dict[str, Any]] = []
    blank: dict[str, Any] = dict.fromkeys(view.table.columns.keys())
    for stream_id, recorded in by_stream(events).items():
        row = view.fold(recorded)
        if recorded[0].version == 1:
            inserts += [{**blank, key: stream_id, **row}] if row else []
        elif row is None:
            deletes.append({"this_row": stream_id})
        elif row:
            updates[tuple(sorted(row))].append({"this_row": stream_id, **row})
    if inserts:
        connection.execute(_upsert(view.table, connection.dialect.name), inserts)
    for columns, rows in updates.items():
        connection.execute(_update(view.table, columns), rows)
    if deletes:
        connection.execute(_delete(view.table), deletes)


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
