"""Servers to be measured: processes that answer HTTP, and what they cost."""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from benchmarks.contender import Unable

TIMEOUT_S = 60.0
PROJECT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A server that answers.

    Attributes:
        began: When its process was started, by `time.monotonic()`.
        answered: When it first answered.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, began: float) -> None:
        self.process, self.port, self.began = process, port, began
        while not self._answers():
            if process.poll() is not None:
                raise Unable("it ended")
            if time.monotonic() - began > TIMEOUT_S:
                raise Unable(f"it did not answer within {TIMEOUT_S:g} s")
            time.sleep(0.005)
        self.answered = time.monotonic()

    def rss_mb(self) -> float:
        """Resident memory."""
        return rss_mb(self.process.pid)

    def cpu_s(self) -> float:
        """Processor time so far, of all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500  # noqa: PLR2004 (anything but a failure is an answer)
        except OSError:
            return False
        finally:
            connection.close()


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def saga_es(url: str, *flags: str, environment: Mapping[str, str] | None = None, port: int = 0) -> Iterator[Server]:
    """`saga-es serve` with the application of this project, as anybody would start it."""
    port = port or free_port()
    command = [sys.executable, "-m", "saga_es", "serve", "--database-url", url, "--port", str(port), *flags]
    with _running(command, port, environment) as server:
        yield server


def made_ready(url: str) -> None:
    """Have the database brought up to date, views and all, however long that takes."""
    subprocess.run([sys.executable, "-m", "saga_es", "db", "upgrade", "--database-url", url], cwd=PROJECT, check=True)


@contextmanager
def demo() -> Iterator[Server]:
    """The demo in memory."""
    port = free_port()
    with _running([sys.executable, "-m", "benchmarks.contenders.demo", str(port)], port) as server:
        yield server


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    with TemporaryFile() as said:
        began = time.monotonic()
        env = {**os.environ, **(environment or {})}
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=said,
            process_group=0,  # Ctrl-C is for us; we end it
        )
        try:
            yield _answering(process, command, port, began, said)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _answering(
    process: subprocess.Popen[bytes], command: list[str], port: int, began: float, said: IO[bytes]
) -> Server:
    try:
        return Server(process, port, began)
    except Unable as error:
        said.seek(0)
        last = [b"nothing", *said.read().splitlines()][-1].decode(errors="replace")
        raise Unable(f"{shlex.join(command)}: {error}; the last that it said: {last}") from error
