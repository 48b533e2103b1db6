"""Log lines on stderr: readable in a terminal, parseable elsewhere."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO

import structlog

from saga_es.core.describe import plain
from saga_es.logs import NAME, Line


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
    """Renders a record as structlog does: in colours on a terminal, else as `name=value`."""

    def __init__(self) -> None:
        super().__init__()
        renderer = (
            structlog.dev.ConsoleRenderer()
            if sys.stderr.isatty()
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
        )
        self._processors: list[Any] = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escaped,
            renderer,
        ]

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback of an error."""
        fields = getattr(record, NAME, {})
        event = record.msg.event if isinstance(record.msg, Line) else record.getMessage()
        line: Any = {**fields, "event": event, "level": record.levelname.lower()}
        if record.exc_info:
            line["exc_info"] = record.exc_info
        for process in self._processors:
            line = process(None, record.levelname.lower(), line)
        return str(line)


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


class _WholeLines(logging.StreamHandler[_Lossy]):
    """Writes a line and its end as one, so that no other thread writes between them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; what cannot be written is dropped."""
        with suppress(Exception):
            self.stream.write(f"{self.format(record)}\n")


def configure_logs(level: str) -> None:
    """Log to stderr from this level on; stdout is for data. For a process of our own alone."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    ours = logging.getLogger(NAME)
    handler = _WholeLines(_Lossy(sys.stderr))
    handler.setFormatter(_Rendered())
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(number)
