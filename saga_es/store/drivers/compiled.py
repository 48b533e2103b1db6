"""Compiled statements: many rows executed for a fraction of the cost of `execute`.

`Connection.execute` looks a statement up in a cache and converts every row anew, 10 us a row; that was half of the time
of a saga. Here a statement is compiled once per dialect, and a row costs no more than its tuple.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from saga_es.store.drivers.columns import UtcDateTime
from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.writes import THIS_ROW, BatchUpdate, Rows

_SHARED = (UtcDateTime, sa.Boolean)
"""Types of which few values are written again and again."""


class Compiled:
    """A statement compiled for a driver: its text, and how a row becomes a tuple."""

    def __init__(self, statement: sa.Executable, names: tuple[str, ...], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=names)  # type: ignore[attr-defined]
        self.text: str = compiled.string
        processors = {
            # A batch has one time, which many rows share: it is converted once. Of booleans there are two.
            name: lru_cache(64)(process) if isinstance(compiled.binds[name].type, _SHARED) else process
            for name, process in compiled._bind_processors.items()  # noqa: SLF001 (where SQLAlchemy keeps them)
        }
        self._is_by_place = bool(compiled.positiontup)
        self._names = tuple(compiled.positiontup or compiled.binds)
        self._pick = itemgetter(*self._names) if len(self._names) > 1 else lambda row: (row[self._names[0]],)
        self._processors = [(place, processors[name]) for place, name in enumerate(self._names) if name in processors]
        self._batch_update: BatchUpdate | None = None
        as_one_update = driver_of(dialect).as_one_update
        if as_one_update is not None and isinstance(statement, sa.Update) and THIS_ROW in names:
            assert isinstance(statement.table, sa.Table), "rows are written to tables"
            self._batch_update = as_one_update(statement.table, THIS_ROW, self._names, dialect)

    @cached_property
    def is_plain(self) -> bool:
        """Whether the text is executed once with the rows as tuples."""
        return self._batch_update is None and self._is_by_place

    def executions(self, rows: Rows) -> Iterable[tuple[str, list[Any]]]:
        """The arguments for the driver's `executemany`, one pair for each call."""
        if self._batch_update is None or len(rows) == 1:
            return ((self.text, self.laid_out(rows)),)
        return self._batch_update.executions(self.tuples(rows))

    def laid_out(self, rows: Rows) -> list[Any]:
        """The rows as tuples, or as dicts where the driver wants names; each value converted for the driver."""
        tuples = self.tuples(rows)
        return tuples if self._is_by_place else [dict(zip(self._names, row, strict=True)) for row in tuples]

    def tuples(self, rows: Rows) -> list[tuple[Any, ...]]:
        """The rows as tuples, each value converted for the driver."""
        # All rows in one sweep: to call a function for each took longer than to lay it out.
        tuples: list[tuple[Any, ...]] = list(map(self._pick, rows))
        if not self._processors:
            return tuples
        for number, picked in enumerate(tuples):
            values = list(picked)
            for place, process in self._processors:
                values[place] = process(values[place])
            tuples[number] = tuple(values)
        return tuples


class Query:
    """A query compiled for a driver, and how the values of its rows are converted back."""

    def __init__(self, query: sa.Select[Any], dialect: Dialect) -> None:
        form: Any = query.compile(dialect=dialect)
        self.text: str = form.string
        self._names = tuple(form.positiontup or ())
        found = (column.type.dialect_impl(dialect).result_processor(dialect, None) for column in query.selected_columns)
        self._processors = [(place, process) for place, process in enumerate(found) if process is not None]

    def laid_out(self, values: Mapping[str, Any]) -> Any:
        """The parameters converted for the driver."""
        return tuple(values[name] for name in self._names) if self._names else values

    def rows(self, found: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """The rows with the values that SQLAlchemy would return."""
        rows = [list(row) for row in found]
        for place, process in self._processors:
            for row in rows:
                row[place] = process(row[place])
        return rows


@lru_cache(64)
def compiled_query(query: sa.Select[Any], dialect: Dialect) -> Query:
    """A query compiled for a driver. Pass a query that the caller keeps: it is cached by its identity."""
    return Query(query, dialect)


@lru_cache(512)
def compiled(statement: sa.Executable, names: tuple[str, ...], dialect: Dialect) -> Compiled:
    """A statement compiled for a driver. Pass a statement that the caller keeps: it is cached by its identity."""
    return Compiled(statement, names, dialect)


def execute_many(connection: Connection, statement: sa.Executable, rows: Rows) -> None:
    """Execute a statement once for each row, in the connection's transaction."""
    for text, laid_out in compiled(statement, tuple(rows[0]), connection.dialect).executions(rows):
        connection.exec_driver_sql(text, laid_out)
