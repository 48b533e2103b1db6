"""Log lines: whole, one after the other, whoever else writes to stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pytest

from saga_es.logs import NAME, logger
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
def logging_to(stderr: TextIO, level: str, form: str | None = None) -> Iterator[None]:
    """A log of this level on a stderr of the test's; the log is as it was afterwards."""
    ours, usual = logging.getLogger(NAME), sys.stderr
    before = ours.handlers, ours.propagate, ours.level
    sys.stderr = stderr
    try:
        configure_logs(level, form)
        yield
    finally:
        sys.stderr = usual
        ours.handlers, ours.propagate = before[0], before[1]
        ours.setLevel(before[2])


@contextmanager
def log_lines(level: str, form: str | None = None) -> Iterator[list[str]]:
    """What is written to stderr by a log of this level."""
    writes = Writes()
    with logging_to(writes, level, form):
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
        logger.info("workers are gone", sagas=2)
    (line,) = written
    assert line.endswith('event="workers are gone" sagas=2\n')


def test_lines_below_the_level_are_not_written() -> None:
    """The level is the least that is said."""
    with log_lines("warning") as written:
        logger.info("nothing to see")
    assert written == []


def test_a_line_in_json_is_one_object_of_ascii() -> None:
    """What a participant sent stands in it as it is; no character of it can move a cursor or begin a line."""
    said = "bad\x1b[2J\u202e\n\u2028 \ud800 \x9b"
    with log_lines("info", "json") as written:
        logger.warning("a step is given up", saga_id="s-1", reason=said, attempt=2)
        logger.error("a call failed", exc_info=ValueError(said))
    first, second = map(json.loads, written)
    assert [line for line in written if not line.isascii() or line.count("\n") != 1] == []
    assert list(first)[:3] == ["timestamp", "level", "event"]
    assert (first["level"], first["event"], first["saga_id"], first["reason"], first["attempt"]) == (
        *("warning", "a step is given up", "s-1", said, 2),
    )
    assert second["exception"].startswith("ValueError: bad")


@pytest.mark.parametrize("stderr", [full, unread])
def test_a_line_that_cannot_be_written_is_dropped(stderr: Callable[[], TextIO]) -> None:
    """Whoever logs goes on: it is no fault of theirs, and there is nobody to be told."""
    file = stderr()
    with logging_to(file, "info"):
        logger.warning("the database is away", wait_s=2)
    with suppress(OSError):
        file.close()
    with logging_to(io.StringIO(), "info"):
        sys.stderr.close()
        logger.warning("the database is away", wait_s=2)


EMBEDDED = """
import contextlib, io, logging, sys
printed = io.StringIO()
before = logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("saga_es").handlers[:]
with contextlib.redirect_stdout(printed):
    import saga_es
    from saga_es.logs import logger
    secret = "the password"
    try:
        raise ValueError("it went wrong")
    except ValueError:
        logger.exception("a call failed", step="pay", saga_id="s-1")
    logger.info("nothing that anyone asked for")
assert printed.getvalue() == "", "an embedded engine prints nothing"
after = logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("saga_es").handlers[:]
assert before == after, "it configures nothing"
"""


def test_an_embedded_engine_logs_through_the_standard_library_alone() -> None:
    """Nothing on stdout, no local variables, no configuration: without one, what is bad is a line on stderr."""
    done = subprocess.run([sys.executable, "-c", EMBEDDED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("a call failed step='pay' saga_id='s-1'\nTraceback (most recent call last)")
    assert "the password" not in done.stderr
    assert "nothing that anyone asked for" not in done.stderr


def test_a_host_finds_the_fields_of_a_line_in_its_record(caplog: pytest.LogCaptureFixture) -> None:
    """For a formatter that writes JSON; the line tells where it was logged."""
    with caplog.at_level("INFO", logger="saga_es"):
        logger.info("workers are gone", sagas=2)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("saga_es", "INFO", "workers are gone sagas=2")
    assert (vars(record)["saga_es"], record.funcName) == (
        {"sagas": 2},
        "test_a_host_finds_the_fields_of_a_line_in_its_record",
    )
