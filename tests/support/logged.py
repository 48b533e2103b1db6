"""What was logged while a test ran."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from saga_es.logs import NAME, Line


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        assert isinstance(record.msg, Line)
        line = {"event": record.msg.event, "log_level": record.levelname.lower(), **record.msg.fields}
        self.lines.append(line | ({"exc_info": record.exc_info} if record.exc_info else {}))


@contextmanager
def captured_logs() -> Iterator[list[dict[str, Any]]]:
    """The lines that are logged in this block, each as its event, its level and its fields."""
    logger, kept = logging.getLogger(NAME), _Kept()
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(kept)
    try:
        yield kept.lines
    finally:
        logger.removeHandler(kept)
        logger.level, logger.propagate = before
        logger.setLevel(before[0])


@contextmanager
def spoilt_logs(spoil: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    """Every line, those of each saga included, passes a filter that may raise, as one of the host's may."""
    logger = logging.getLogger(NAME)
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(spoil)
    try:
        yield
    finally:
        logger.removeFilter(spoil)
        logger.setLevel(before)
