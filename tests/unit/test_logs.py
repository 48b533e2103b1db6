"""Log lines: whole, one after the other, whoever else writes to stderr."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from saga_es.logs import configure_logs


class Writes(io.StringIO):
    """Remembers what each single write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []

    def write(self, text: str) -> int:
        """Write, and remember."""
        self.all.append(text)
        return super().write(text)


@contextmanager
def log_lines(level: str) -> Iterator[list[str]]:
    """What is written to stderr by a log of this level; the log is as it was afterwards."""
    before, stderr, writes = structlog.get_config(), sys.stderr, Writes()
    sys.stderr = writes
    try:
        configure_logs(level)
        yield writes.all
    finally:
        sys.stderr = stderr
        structlog.configure(**before)


def test_a_log_line_is_one_write_with_its_end() -> None:
    """Nothing another thread prints can stand on the same line."""
    with log_lines("info") as written:
        structlog.get_logger().info("workers are gone", sagas=2)
    (line,) = written
    assert line.endswith('event="workers are gone" sagas=2\n')


def test_lines_below_the_level_are_not_written() -> None:
    """The level is the least that is said."""
    with log_lines("warning") as written:
        structlog.get_logger().info("nothing to see")
    assert written == []
