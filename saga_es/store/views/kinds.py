"""Views: tables that are a fold of the log, and can be made from it again at any time.

There are three kinds. Each consists of a table and a function of a recorded event. The function sees the event alone,
no database and no clock, so the table comes out the same each time it is made.

- `View`: one row per stream. The function returns the columns that the event sets. The event at version 1 makes the
  row, later events change it, and `None` removes it.
- `Additions`: rows that are only added. The function returns the rows that the event adds; most events add none.
- `Tally`: sums under any key. The function returns what the event adds to which sums.

A synchronous view is kept in the transaction that appends; an asynchronous view follows the log with its own
checkpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from saga_es.errors import DefinitionError, ProjectionFailed
from saga_es.store.drivers.compiled import execute_many
from saga_es.store.drivers.driver import Driver, driver_of
from saga_es.store.drivers.names import OurName, mark, ours
from saga_es.store.drivers.writes import THIS_ROW, Write
from saga_es.store.log.entries import Recorded
from saga_es.store.tables import VERSION_TABLE, metadata
from saga_es.store.views.statements import adding, deletion, update, upsert

Change = Mapping[str, Any] | None
"""Columns to set; empty: the event does not matter here; None: the row is removed."""

LONGEST_NAME = 40
"""Characters of a view's name: while the view is made anew, its tables and indexes have longer names."""


NEW, OLD, UNTIL = "__new", "__old", "__until"
"""The suffixes of the table that is being built; of the old table, until it is dropped; and of the view as of an
earlier position, for inspection."""

SUFFIXES = (NEW, OLD, UNTIL)

_TAKEN = {str(name) for name in metadata.tables} | {str(VERSION_TABLE), "saga_events_chained"}


@dataclass(frozen=True)
class Projection(ABC):
    """A table that is made from the events of some categories, and can be made again.

    Attributes:
        table: Its table. It has a primary key, and no foreign keys.
        category: The category of its events, or several categories.
        follows: Whether it follows the log in transactions of its own, a moment behind. If not, it is kept in the
            transaction that appends: readers see all that is in the log. When it refuses an event, it is behind until
            it is made anew.
    """

    table: sa.Table
    category: str | Sequence[str]
    follows: bool = field(default=False, kw_only=True)

    # How a view follows the log: how often it looks for more, and rests between two pieces of much (sagas go first).
    look_every_s: ClassVar[float] = 0.25
    rest_s: ClassVar[float] = 0.0
    keeps_archived: ClassVar[bool] = False  # whether no difference is looked for once streams were archived
    reminded_by: ClassVar[tuple[str, ...]] = ()  # the types of the events of which `remind` tells

    def __post_init__(self) -> None:
        mark(self.table)
        if self.table.schema is not None:
            raise DefinitionError(
                f"the table of the view {self.name!r} is in the schema {self.table.schema!r}; leave the schema out: a "
                "view is kept where the log is"
            )
        if not list(self.table.primary_key.columns):
            raise DefinitionError(f"the table of the view {self.name!r} has no primary key; a view needs one")
        if self.table.foreign_keys:
            raise DefinitionError(
                f"the table of the view {self.name!r} has foreign keys; a view is made anew in a table that takes its "
                "place, and nothing can refer to it or be referred to"
            )

    @property
    def name(self) -> OurName:
        """The name of its table, to which each database may add a prefix."""
        return ours(self.table.name)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of its events."""
        return (self.category,) if isinstance(self.category, str) else tuple(self.category)

    def create(self, connection: Connection) -> None:
        """Make its table, empty, where there is none of this name."""
        widen(self.table, connection.dialect)
        self.table.create(connection, checkfirst=False)

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Apply further events of its categories, in the connection's transaction.

        Raises:
            ProjectionFailed: Its function failed on an event; nothing was written.
        """
        for statement, rows in self.writes(events, driver_of(connection.dialect)):
            execute_many(connection, statement, rows)

    @abstractmethod
    def writes(self, events: Sequence[Recorded], driver: Driver) -> list[Write]:
        """The writes that apply further events, in the order of the log; pure.

        Raises:
            ProjectionFailed: Its function failed on an event.
        """

    def lacks(self, events: Sequence[Recorded]) -> Mapping[str, int]:
        """The streams of whose earlier events the view must be reminded before it takes up these.

        Each comes with the version before which they are. There are none unless what an event adds depends on others.
        """
        del events
        return {}

    def remind(self, events: Sequence[Recorded], version: int) -> None:  # noqa: B027 (most views remember nothing)
        """Tell of the earlier events of a stream that it lacks, before this version; they change no row."""

    def _failed_on(self, event: Recorded, error: Exception) -> ProjectionFailed:
        return ProjectionFailed(self.name, event.stream_id, event.version, type(event.event).__name__, repr(error))


@dataclass(frozen=True)
class View(Projection):
    """One row per stream.

    Attributes:
        table: Its primary key is one text column, which holds the stream id.
        change: Returns the columns that an event sets; pure.
    """

    change: Callable[[Recorded], Change]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.table.primary_key.columns) != 1:
            raise DefinitionError(f"the key of the view {self.name!r} must be one column, which holds the stream id")

    @cached_property
    def key(self) -> sa.Column[str]:
        """The column that holds the stream id."""
        (column,) = self.table.primary_key.columns
        return column

    def fold(self, events: Iterable[Recorded]) -> Change:
        """The columns that the events of one stream, in order, set together; a row once removed stays removed.

        Raises:
            ProjectionFailed: The function failed on an event.
        """
        for row in self._folded(events)[1].values():
            return row
        return {}

    def _folded(self, events: Iterable[Recorded]) -> tuple[set[str], dict[str, dict[str, Any] | None]]:
        """The streams that begin here, and what the events set together, by stream."""
        new, rows = set[str](), dict[str, dict[str, Any] | None]()
        for event in events:
            stream_id = event.stream_id
            if stream_id not in rows:
                rows[stream_id] = {}
                if event.version == 1:
                    new.add(stream_id)
            row = rows[stream_id]
            if row is not None:
                try:
                    change = self.change(event)
                    rows[stream_id] = None if change is None else {**row, **change}
                except Exception as error:
                    raise self._failed_on(event, error) from error
        return new, rows

    @cached_property
    def _blank(self) -> dict[str, Any]:
        return dict.fromkeys(self.table.columns.keys())

    def writes(self, events: Sequence[Recorded], driver: Driver) -> list[Write]:
        """Each stream's row is written once, however many of its events there are."""
        key, blank = self.key.name, self._blank
        inserts: list[dict[str, Any]] = []
        updates: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        deletes: list[dict[str, Any]] = []
        new, rows = self._folded(events)
        for stream_id, row in rows.items():
            if stream_id in new:
                inserts += [{**blank, key: stream_id, **row}] if row else []
            elif row is None:
                deletes.append({THIS_ROW: stream_id})
            elif row:
                updates[_in_order(tuple(row))].append({THIS_ROW: stream_id, **row})
        writes: list[Write] = [(upsert(self.table, driver), inserts)] if inserts else []
        writes += [(update(self.table, columns), changed) for columns, changed in updates.items()]
        return [*writes, (deletion(self.table), deletes)] if deletes else writes


@dataclass(frozen=True)
class Additions(Projection):
    """Rows that events add, and no event changes.

    Attributes:
        rows: Returns the rows that an event adds, each with every column; pure.
        only: The event classes that the function receives; empty: all. Most events of a log are of a few classes: a
            view that leaves them out is made anew faster, and costs an append less.
    """

    rows: Callable[[Recorded], Iterable[Mapping[str, Any]]]
    only: tuple[type[Any], ...] = field(default=(), kw_only=True)

    def writes(self, events: Sequence[Recorded], driver: Driver) -> list[Write]:
        """Add the rows; events that add none cost no statement."""
        added = self.added(events)
        return [(upsert(self.table, driver), added)] if added else []

    def added(self, events: Iterable[Recorded]) -> list[dict[str, Any]]:
        """The rows that events add.

        Raises:
            ProjectionFailed: The function failed on an event.
        """
        added: list[dict[str, Any]] = []
        only = self.only
        for event in events:
            if only and type(event.event) not in only:
                continue
            try:
                added += [dict(row) for row in self.rows(event)]
            except Exception as error:
                raise self._failed_on(event, error) from error
        return added


@dataclass(frozen=True)
class Tally(Projection):
    """Sums, each row under a key of any kind: a day, a name, both.

    Attributes:
        table: All columns outside the primary key are whole numbers, which add up to the same in any order.
        counts: Returns what an event adds: for each row, the key's columns and some of the others; pure.
        only: As for `Additions`.
    """

    counts: Callable[[Recorded], Iterable[Mapping[str, Any]]]
    only: tuple[type[Any], ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._sums:
            raise DefinitionError(f"the tally {self.name!r} has only a key; it needs a column to sum up in")
        inexact = [column.name for column in self._sums if not isinstance(column.type, sa.Integer)]
        if inexact:
            raise DefinitionError(
                f"the tally {self.name!r} sums up in {', '.join(inexact)}, of another type than sa.Integer or "
                "sa.BigInteger; fractions do not add up to the same in any order: count cents, milliseconds"
            )

    @property
    def _sums(self) -> list[sa.Column[Any]]:
        return [column for column in self.table.columns if not column.primary_key]

    def writes(self, events: Sequence[Recorded], driver: Driver) -> list[Write]:
        """Each row is written once, in the order of keys, so that concurrent transactions do not deadlock."""
        keys = [column.name for column in self.table.primary_key.columns]
        blank = dict.fromkeys((column.name for column in self._sums), 0)
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        only = self.only
        for event in events:
            if only and type(event.event) not in only:
                continue
            try:
                for counted in self.counts(event):
                    key = tuple(counted[name] for name in keys)
                    row = rows.setdefault(key, {**blank, **dict(zip(keys, key, strict=True))})
                    for name in counted.keys() - keys:
                        row[name] += counted[name]
            except Exception as error:
                raise self._failed_on(event, error) from error
        return [(adding(self.table, driver), [rows[key] for key in sorted(rows)])] if rows else []


def widen(table: sa.Table, dialect: Dialect) -> None:
    """Let the table of a view hold each character, unless its author has said otherwise."""
    for option, value in driver_of(dialect).table_options.items():
        table.dialect_kwargs.setdefault(option, value)


class Views:
    """All views of an application, by name.

    Attributes:
        inline: Those that are kept in the transaction that appends.

    Raises:
        DefinitionError: Two have one name, or one is too long.
    """

    def __init__(self, views: Iterable[Projection]) -> None:
        self._views: dict[str, Projection] = {}
        for view in views:
            _check_name(view.name, [str(name) for name in self._views])
            self._views[view.name] = view
        self.inline = [view for view in self if not view.follows]
        self._of_category: dict[str, list[Projection]] = {}

    def __iter__(self) -> Iterator[Projection]:
        return iter(self._views.values())

    def __getitem__(self, name: str) -> Projection:
        return self._views[name]

    def __contains__(self, name: str) -> bool:
        return name in self._views

    def writes(self, events: Sequence[Recorded], driver: Driver) -> list[Write]:
        """The writes that apply events to the synchronous views, in the transaction that appends them.

        Raises:
            ProjectionFailed: A view's function failed on an event.
        """
        writes: list[Write] = []
        category = events[0].category if events else ""
        for event in events:
            if event.category != category:
                for view, concerned in sort_out(self.inline, events):
                    writes += view.writes(concerned, driver)
                return writes
        if category not in self._of_category:  # most batches are of one: then nothing is sorted out
            self._of_category[category] = [view for view in self.inline if category in view.categories]
        for view in self._of_category[category]:
            writes += view.writes(events, driver)
        return writes

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Apply events to the synchronous views, in the transaction that appends them."""
        for view, concerned in sort_out(self.inline, events):
            view.apply(connection, concerned)

    def apply_to_all(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Apply events to all views, asynchronous ones too: for making them from the first event on."""
        for view, concerned in sort_out(self, events):
            view.apply(connection, concerned)


def _check_name(name: str, others: Iterable[str]) -> None:
    known = name.lower()  # some databases ignore case
    if known in {other.lower() for other in others}:
        raise DefinitionError(f"two views have the table {name!r}; each needs one of its own")
    if len(name) > LONGEST_NAME:
        raise DefinitionError(f"the name of the view {name!r} has more than {LONGEST_NAME} characters")
    if known in _TAKEN:
        raise DefinitionError(f"a view cannot have the name {name!r}: a table of saga_es has it; choose another")
    if known.endswith(SUFFIXES):
        raise DefinitionError(
            f"the name of the view {name!r} ends as those of tables that a replay makes ({', '.join(SUFFIXES)}); "
            "choose another"
        )


@lru_cache(512)
def _in_order(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns in one order: what sets the same columns is one statement."""
    return tuple(sorted(columns))


def sort_out(
    views: Iterable[Projection], events: Sequence[Recorded]
) -> Iterator[tuple[Projection, Sequence[Recorded]]]:
    """The views that some of the events concern, each with those events, in their order."""
    of_category: dict[str, list[Recorded]] = defaultdict(list)
    for event in events:
        of_category[event.category].append(event)
    for view in views:
        match [category for category in view.categories if category in of_category]:
            case []:
                continue
            case [one]:
                yield view, of_category[one]
            case several:
                yield view, [event for event in events if event.category in several]
