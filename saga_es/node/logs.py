"""Log lines on stderr: readable in a terminal, parseable elsewhere, or JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, TextIO

from saga_es.core.describe import plain
from saga_es.logs import NAME, CallFields, Line
from saga_es.logs.secrets import masked

CHATTY = ("alembic", "asyncio", "httpcore", "httpx", "pymysql", "sqlalchemy", "urllib3", "waitress", "werkzeug")
"""Libraries whose lines below warning are not for operators: SQLAlchemy would write each statement."""


class _Lossy:
    """A file that drops what it cannot write: a full disk or a closed pipe must not stop the logging code."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: the file is closed
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


class _Rendered(logging.Formatter):
    """Renders a record as structlog does: in colours, as `name=value`, or as one JSON object a line."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    @cached_property
    def _processors(self) -> list[Any]:
        """What makes a line of a record; most commands write none, and import no structlog."""
        import structlog  # noqa: PLC0415

        renderers: dict[str, Callable[[], list[Any]]] = {
            "console": lambda: [_escaped, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
            "logfmt": lambda: [_escaped, structlog.processors.LogfmtRenderer(key_order=_FIRST, bool_as_flag=False)],
            "json": lambda: [
                _in_order,
                structlog.processors.JSONRenderer(default=str),
            ],  # its escapes are those of JSON
        }
        return [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _masked,
            *renderers[self._form](),
        ]

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback of an error."""
        fields = getattr(record, NAME, {})
        event = record.msg.event if isinstance(record.msg, Line) else record.getMessage()
        line: Any = {**fields, "event": event, "level": record.levelname.lower()}
        if record.name != NAME:
            line["logger"] = record.name
        if record.exc_info:
            line["exc_info"] = record.exc_info
        for process in self._processors:
            line = process(None, record.levelname.lower(), line)
        return str(line)


def _masked(_logger: Any, _level: str, line: dict[str, Any]) -> dict[str, Any]:
    return {name: _masked_value(value) for name, value in line.items()}


def _masked_value(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {str(name): _masked_value(nested) for name, nested in value.items()}
        case list() | tuple():
            return [_masked_value(nested) for nested in value]
        case _:
            return masked(str(value))


def _escaped(_logger: Any, _level: str, line: dict[str, Any]) -> dict[str, Any]:
    """The line without what would move a cursor, hide a text or begin another line; a traceback keeps its lines."""
    return {
        name: "\n".join(map(plain, value.splitlines())) if name == "exception" else _plain_value(value)
        for name, value in line.items()
    }


def _plain_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return plain(value if isinstance(value, str) else str(value))


_FIRST = ["timestamp", "level", "event"]


def _in_order(_logger: Any, _level: str, line: dict[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in _FIRST} | line


class _WholeLines(logging.StreamHandler[_Lossy]):
    """Writes a line and its end as one, so that no other thread writes between them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; what cannot be written is dropped."""
        with suppress(Exception):
            self.stream.write(f"{self.format(record)}\n")


def configure_logs(level: str, form: str | None = None) -> None:
    """Log to stderr from this level on, the application's lines too; stdout is for data. For a process of our own.

    Args:
        level: debug, info, warning or error. Libraries that write much begin at warning.
        form: console, logfmt or json; None: console on a terminal, else logfmt.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = _WholeLines(_Lossy(sys.stderr))
    handler.setFormatter(_Rendered(form or ("console" if sys.stderr.isatty() else "logfmt")))
    handler.addFilter(CallFields())
    logging.basicConfig(level=number, handlers=[handler])
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    ours = logging.getLogger(NAME)
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(number)
