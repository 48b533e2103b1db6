"""What the engine tells operators: lines of the logger `saga_es` of the standard library, and of nothing else.

An embedded engine configures nothing: levels, handlers and formats are the host's. The fields of a line stand in its
text and, as a dict, in the record's attribute `saga_es`. A line that a step writes gets the fields of its call from
`CallFields`, a filter that a host adds to its handlers.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

from saga_es.logs.secrets import masked

NAME = "saga_es"

_LOGGER = logging.getLogger(NAME)

_CALLER = 3
"""How many frames lie between the standard library and the line that logs."""


class AboutCall(Protocol):
    """What a line says of the call that it comes from."""

    saga_id: str
    definition: str
    step: str
    attempt: int
    worker: str | None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace to which it belongs."""
        ...

    @property
    def direction(self) -> object:
        """Forward, backward, or a question."""
        ...


CALL: ContextVar[AboutCall | None] = ContextVar("saga_es_call", default=None)
"""The call that this thread or task makes."""


class CallFields(logging.Filter):
    """Gives each record that is logged within a step the fields of its call; it lets every record pass.

    Add it to a handler: `handler.addFilter(CallFields())`. The fields are a dict in the record's attribute `saga_es`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is known."""
        call = CALL.get()
        if call is not None:
            setattr(record, NAME, fields_of(call) | getattr(record, NAME, {}))
        return True


def fields_of(call: AboutCall) -> dict[str, Any]:
    """The fields of a call, as they stand in a line."""
    fields = {
        "saga_id": call.saga_id,
        "saga": call.definition,
        "worker": call.worker,
        "step": call.step,
        "direction": str(call.direction),
        "attempt": call.attempt,
        "trace_id": call.trace_id,
    }
    return {name: value for name, value in fields.items() if value is not None}


class _MaskedTracebacks(logging.Filter):
    """Formats a traceback without secrets and what is hidden, before a host's handlers do; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and not record.exc_text:
            with suppress(Exception):  # whatever an exception says of itself, the line is logged
                told = masked(_FORMATTER.formatException(record.exc_info))
                record.exc_text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in told)
        return True


_FORMATTER = logging.Formatter()
_LOGGER.addFilter(_MaskedTracebacks())


class Line:
    """The text of a line: what happened, and the fields as `name=value`."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={value!r}" for name, value in self.fields.items())])  # repr escapes


class Logger:
    """Logs events with fields."""

    def debug(self, event: str, **fields: Any) -> None:
        """Something that helps to find a fault."""
        _log(logging.DEBUG, event, None, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Something that an operator may want to know."""
        _log(logging.INFO, event, None, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something that may need an operator; `exc_info` is the exception whose traceback is logged."""
        exc_info = fields.pop("exc_info", None)
        _log(logging.WARNING, event, exc_info, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something that needs an operator; `exc_info` is the exception whose traceback is logged."""
        exc_info = fields.pop("exc_info", None)
        _log(logging.ERROR, event, exc_info, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error, with the exception that is being handled."""
        _log(logging.ERROR, event, sys.exception(), fields)


logger = Logger()


tells_infos = partial(_LOGGER.isEnabledFor, logging.INFO)
"""Whether what an operator may want to know is written, and not warnings and errors alone."""


def is_silent() -> bool:
    """Whether nothing is written, not even an error: who has many lines to make asks first."""
    return not _LOGGER.isEnabledFor(logging.ERROR)


def _log(level: int, event: str, exc_info: BaseException | None, fields: dict[str, Any]) -> None:
    if _LOGGER.isEnabledFor(level):
        fields = {name: masked(value) if isinstance(value, str) else value for name, value in fields.items()}
        line = Line(event, fields)
        with suppress(Exception):  # a filter or a handler of the host's may fail: no line is worth a saga
            _LOGGER.log(level, line, exc_info=exc_info, extra={NAME: fields}, stacklevel=_CALLER)


@contextmanager
def silence() -> Iterator[None]:
    """Log nothing while the block runs: a simulation has thousands of outages."""
    before, _LOGGER.disabled = _LOGGER.disabled, True
    try:
        yield
    finally:
        _LOGGER.disabled = before
