"""Log lines: whole, one after the other, whoever else writes to stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from saga_es.node.logs import configure_logs


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
def logging_to(stderr: TextIO, level: str) -> Iterator[None]:
    """A log of this level on a stderr of the test's; the log is as it was afterwards."""
    before, usual = structlog.get_config(), sys.stderr
    sys.stderr = stderr
    try:
        configure_logs(level)
        yield
    finally:
        sys.stderr = usual
        structlog.configure(**before)


@contextmanager
def log_lines(level: str) -> Iterator[list[str]]:
    """What is written to stderr by a log of this level."""
    writes = Writes()
    with logging_to(writes, level):
        yield writes.all


def full() -> TextIO:
    """A file on a disk that is full."""
    return Path("/dev/full").open("w")


def unread() -> TextIO:
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


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


@pytest.mark.parametrize("stderr", [full, unread])
def test_a_line_that_cannot_be_written_is_dropped(stderr: Callable[[], TextIO]) -> None:
    """Whoever logs goes on: it is no fault of theirs, and there is nobody to be told."""
    file = stderr()
    with logging_to(file, "info"):
        structlog.get_logger().warning("the database is away", wait_s=2)
    with suppress(OSError):
        file.close()
    with logging_to(io.StringIO(), "info"):
        sys.stderr.close()
        structlog.get_logger().warning("the database is away", wait_s=2)
