"""PostgreSQL: all writes of a batch as one statement: one round trip, commit included.

The rows of each table are one JSON text, which the server takes apart; that is faster than a message for each row, and
than arrays. So the text of the statement is the same for batches of any size, and psycopg prepares it after five uses,
which saves the server work each time. The types of columns and values decide whether a batch can be sent so; other
batches are written in the ordinary way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect

from saga_es.store.drivers.columns import JsonText, KeyText, UtcDateTime
from saga_es.store.drivers.driver import LOG_TABLE
from saga_es.store.drivers.writes import THIS_ROW, Rows, Write

_CARRIED: tuple[tuple[type[Any], tuple[type[Any], ...]], ...] = (
    (sa.String, (str,)),
    (KeyText, (str,)),
    (sa.Boolean, (bool,)),
    (sa.Integer, (int,)),
    (sa.Float, (float, int)),
    (sa.DateTime, (datetime,)),
    (UtcDateTime, (datetime,)),
    (sa.Date, (date,)),
)
"""Column types whose values JSON carries unchanged, and their Python types. The server would convert any other value:
the number 7 to the text "7", and the view would differ from what a replay makes."""

_encode = msgspec.json.Encoder().encode


class _Part(NamedTuple):
    """A statement for the rows of a JSON text.

    Attributes:
        json: The columns that hold JSON.
        holds: The Python types of the other columns.
        keys: The columns that identify a row in an upsert; empty without one.
    """

    text: str
    json: Mapping[str, sa.JSON]
    holds: Mapping[str, tuple[type[Any], ...]]
    keys: tuple[str, ...]


def as_one_statement(writes: Sequence[Write], dialect: Dialect) -> tuple[str, list[str]] | None:
    """The text and the parameters of one statement; None where the type of a column or value does not allow it."""
    parts = [_part(statement, tuple(rows[0]), dialect) for statement, rows in writes]
    texts, parameters = [], []
    for part, (_, rows) in zip(parts, writes, strict=True):
        if part is None or not _fit(rows, part.holds) or _is_twice(rows, part.keys):
            return None
        texts.append(part.text)
        parameters.append(_encode(_with_json(rows, part.json) if part.json else rows).decode())
    return _whole(tuple(texts)), parameters


def _fit(rows: Rows, holds: Mapping[str, tuple[type[Any], ...]]) -> bool:
    for name, kinds in holds.items():
        for row in rows:
            value = row[name]
            if value is not None and not isinstance(value, kinds):
                return False
            if isinstance(value, bool) and bool not in kinds:  # to Python a bool is a number
                return False
    return True


def _is_twice(rows: Rows, keys: tuple[str, ...]) -> bool:
    """Whether two rows have one key: one statement must not touch a row twice."""
    return bool(keys) and len(rows) > 1 and len({tuple(row[key] for key in keys) for row in rows}) < len(rows)


def _with_json(rows: Rows, columns: Mapping[str, sa.JSON]) -> Rows:
    """The rows with JSON values as the texts that SQLAlchemy would write: JSON's null differs from SQL's."""
    return [
        {
            **row,
            **{
                name: None if row[name] is None and type_.none_as_null else json.dumps(row[name])
                for name, type_ in columns.items()
            },
        }
        for row in rows
    ]


@lru_cache(512)
def _whole(parts: tuple[str, ...]) -> str:
    # A prepared statement takes its locks from the outside in, a new one from the inside out. With nothing outside,
    # both take them in the order of the writes, the log before the views, as every append does.
    named = (f"part_{place} AS ({part})" for place, part in enumerate(parts))
    return f"WITH {', '.join(named)} SELECT 1"


@lru_cache(512)
def _part(statement: sa.Insert | sa.Update | sa.Delete, names: tuple[str, ...], dialect: Dialect) -> _Part | None:
    """A statement for one row, as a statement for the rows of a JSON text."""
    table = statement.table
    assert isinstance(table, sa.Table), "rows are written to tables"
    types = {name: (_key(table) if name == THIS_ROW else table.columns[name]).type for name in names}
    holds = {name: _held(type_) for name, type_ in types.items()}
    if not all(holds.values()):
        return None
    as_text = sa.cast(sa.bindparam("rows", type_=sa.Text), postgresql.JSON)
    in_rows = (sa.column(name, sa.Text() if _is_json(type_) else type_) for name, type_ in types.items())
    rows = sa.func.json_to_recordset(as_text).table_valued(*in_rows, name="r").render_derived("r", with_types=True)
    given = {
        name: sa.cast(rows.c[name], postgresql.JSON) if _is_json(type_) else rows.c[name]
        for name, type_ in types.items()
    }
    match statement:
        case sa.Insert():
            made: Any = statement.from_select(list(names), sa.select(*given.values()))
        case sa.Update():
            changes = {name: value for name, value in given.items() if name != THIS_ROW}
            made = sa.update(table).where(_key(table) == given[THIS_ROW]).values(changes)
        case _:
            made = sa.delete(table).where(_key(table) == given[THIS_ROW])
    text = str(made.compile(dialect=dialect)).replace("%(rows)s::VARCHAR", "%s")
    checked = {} if table.name == LOG_TABLE else holds  # saga_es itself makes the log's values
    json_ = {name: type_ for name, type_ in types.items() if isinstance(type_, sa.JSON)}
    keys = tuple(column.name for column in table.primary_key.columns) if isinstance(statement, sa.Insert) else ()
    return _Part(
        text, json_, {name: kinds for name, kinds in checked.items() if name not in json_}, keys if checked else ()
    )


def _key(table: sa.Table) -> sa.Column[Any]:
    return next(iter(table.primary_key.columns))


def _is_json(type_: sa.types.TypeEngine[Any]) -> bool:
    return isinstance(type_, JsonText | sa.JSON)


def _held(type_: sa.types.TypeEngine[Any]) -> tuple[type[Any], ...]:
    """The Python types of a column type's values; empty when JSON does not carry them."""
    if _is_json(type_):
        return (object,)
    if isinstance(type_, sa.Enum):
        return ()
    return next((kinds for carried, kinds in _CARRIED if isinstance(type_, carried)), ())
