"""Servers that are measured: processes that answer HTTP, with their processor time and memory."""

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
    """A server that answers HTTP. Creating one waits for the first answer.

    Attributes:
        began: When its process was started, by `time.monotonic()`.
        answered: When it first answered, by `time.monotonic()`.
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
        """The resident memory, in megabytes."""
        return rss_mb(self.process.pid)

    def cpu_s(self) -> float:
        """The processor time of all its threads so far, in seconds."""
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
    """The resident memory of a process, in megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def saga_es(url: str, *flags: str, environment: Mapping[str, str] | None = None, port: int = 0) -> Iterator[Server]:
    """`saga-es serve` with the demonstration, as a user starts it."""
    port = port or free_port()
    command = [sys.executable, "-m", "saga_es", "serve", "--database-url", url, "--port", str(port), *flags]
    with _running(command, port, environment) as server:
        yield server


def made_ready(url: str) -> None:
    """Bring a database and its views up to date, however long that takes."""
    subprocess.run([sys.executable, "-m", "saga_es", "db", "upgrade", "--database-url", url], cwd=PROJECT, check=True)


@contextmanager
def demo() -> Iterator[Server]:
    """The in-memory demo."""
    port = free_port()
    with _running([sys.executable, "-m", "benchmarks.contenders.demo", str(port)], port) as server:
        yield server


def free_port() -> int:
    """A port that no process listens on."""
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
            process_group=0,  # Ctrl-C must reach only the benchmark, which ends the server
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
        raise Unable(f"{shlex.join(command)}: {error}; the last line of its stderr: {last}") from error
