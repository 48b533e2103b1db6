"""PostgreSQL servers of our own, in temporary folders and on free ports: a primary, and a standby that it waits for.

They run as another user where we are root, for PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests.support.programs import free_port, initdb, postgresql, run, run_as

TIMEOUT_S = 60.0
DATABASE = "shop"


class PostgresServer:
    """One server: made from nothing, or as the standby of another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._postmaster: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def make(self) -> None:
        """An empty cluster, whose commits wait for the standby `other`."""
        initdb(postgresql(), self.folder)

    def copy(self, primary: PostgresServer) -> None:
        """A standby that follows another server."""
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=other"
        _run(
            "pg_basebackup", "--pgdata", str(self.folder), "--dbname", source, "-R", "-X", "stream", "-c", "fast", "-N"
        )

    def start(self, *, waits: bool = False) -> None:
        """Start it, and block until it answers.

        Args:
            waits: Each commit waits until the standby has it on disk.
        """
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 100,
            "wal_receiver_status_interval": "1s",
            "synchronous_standby_names": "other" if waits else "",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as told:
            self._postmaster = subprocess.Popen(
                [postgresql() / "postgres", "-D", self.folder, *options],
                stdout=told,
                stderr=told,
                start_new_session=True,
                user=run_as("postgres"),
            )
        deadline = time.monotonic() + TIMEOUT_S
        while not self._answers():
            assert self._postmaster.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.05)

    def order(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements; the rows of the last."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def follows_in_step(self) -> bool:
        """Whether the standby is there, and waited for."""
        return self.order("SELECT sync_state FROM pg_stat_replication") == [("sync",)]

    def pause(self) -> None:
        """Stop all its processes where they stand."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def promote(self) -> None:
        """Make a primary of a standby."""
        _run("pg_ctl", "promote", "--pgdata", str(self.folder), "--wait")

    def kill(self) -> None:
        """End all its processes from one moment to the next."""
        if self._postmaster is not None and self._postmaster.poll() is None:
            self.pause()  # so that none sees the others go
            self._signal_all(signal.SIGKILL)
            self._postmaster.wait(TIMEOUT_S)

    def _signal_all(self, how: signal.Signals) -> None:
        if self._postmaster is not None:
            for pid in (self._postmaster.pid, *_children(self._postmaster.pid)):
                _signal(pid, how)

    def _answers(self) -> bool:
        try:
            self.order("SELECT 1")
        except psycopg.Error:
            return False
        return True


class Pair:
    """A primary with a database, and a standby that has each commit before it is answered."""

    def __init__(self) -> None:
        self._folders = ExitStack()
        folder = self._folders.enter_context(folder_for_servers())
        self.primary, self.standby = (PostgresServer(folder / name) for name in ("first", "second"))

    @property
    def url(self) -> str:
        """Both servers; who connects gets the one that can be written to."""
        hosts = f"{self.primary.address},{self.standby.address}"
        return f"postgresql://postgres@{hosts}/{DATABASE}?target_session_attrs=read-write"

    def open(self) -> Pair:
        """Make both, and have the first wait for the second."""
        self.primary.make()
        self.primary.start()
        self.primary.order(f"CREATE DATABASE {DATABASE}")
        self.standby.copy(self.primary)
        self.primary.kill()
        self.primary.start(waits=True)
        self.standby.start()
        deadline = time.monotonic() + TIMEOUT_S
        while not self.primary.follows_in_step():
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.05)
        return self

    def fail_over(self) -> None:
        """The primary is gone from one moment to the next, and the standby takes its place."""
        self.primary.kill()
        self.standby.promote()

    def close(self) -> None:
        """End both, and remove what they wrote."""
        self.primary.kill()
        self.standby.kill()
        self._folders.close()


@contextmanager
def folder_for_servers() -> Iterator[Path]:
    """A folder that is the servers' own, with a short path."""
    with TemporaryDirectory(prefix="saga-es-servers-", ignore_cleanup_errors=True) as folder:
        if (user := run_as("postgres")) is not None:
            shutil.chown(folder, user)
        yield Path(folder)


def _run(program: str, *arguments: str) -> None:
    run(postgresql() / program, *arguments, user=run_as("postgres"), cwd=Path("/"), timeout_s=TIMEOUT_S)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in tasks for child in children.read_text().split()]


def _signal(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return
