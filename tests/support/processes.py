"""Processes of `saga-es`, forked from one that has imported it already: each is there a second of CPU sooner.

A process like any other: it has an environment, a folder and an output of its own, runs its module from the first line
as `python -m` does, can be killed, and ends as an interpreter ends. That one also starts cold is shown by the tests
that start `sys.executable` themselves.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from importlib import import_module, invalidate_caches
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType
from typing import TextIO

from saga_es.cli import COMMANDS

ROOT = Path(__file__).parents[2]
IMPORTED = (
    *sorted({f"saga_es.cli.{where.partition(':')[0]}" for where, _ in COMMANDS.values()}),
    *("saga_es.api", "saga_es.api.server", "saga_es.cli.work", "saga_es.store.admin.revisions"),
    *("alembic.command", "flask_smorest", "flask_swagger_ui", "psycopg", "pymysql", "waitress"),
    *("sqlalchemy.dialects.mysql.pymysql", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite"),
)
"""What is imported beforehand: nothing of an application, which is another one in each folder."""

LONGEST_ORDER = 1 << 17


class Forked:
    """A running process: what `subprocess.Popen` would make of `python -m MODULE ARGUMENTS`.

    Args:
        command: The module, or `-c` and a program, or the path of a file that ends in `.py`; and the arguments for it.
        cwd: The folder it runs in.
        env: Its environment. What an interpreter heeds only when it starts, such as PYTHONPATH, is not heeded.
        stdout: The file descriptor it prints to.
        stderr: The one for everything else.
    """

    def __init__(self, *command: str, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> None:
        self.command = command
        order = json.dumps([command, os.fspath(cwd), dict(env)]).encode()
        assert len(order) < LONGEST_ORDER
        reading, writing = os.pipe()
        self._news = Connection(reading, writable=False)
        with Connection(writing, readable=False):
            socket.send_fds(_parent(), [order], [stdout, stderr, writing])
        self.pid: int = self._news.recv()
        self._ended: Future[int] = Future()
        threading.Thread(target=self._wait, daemon=True).start()

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; blocks until there is one.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        try:
            return self._ended.result(timeout)
        except TimeoutError:
            raise subprocess.TimeoutExpired(self.command, timeout or 0) from None

    def send_signal(self, how: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)

    def _wait(self) -> None:
        with self._news:
            self._ended.set_result(self._news.recv())


Process = Forked | subprocess.Popen[str]


def start(*command: str, cwd: Path, env: Mapping[str, str]) -> tuple[Process, TextIO]:
    """A running `python -m MODULE ARGUMENTS`, and all that it says on stderr.

    It starts cold if something is to be loaded before Python is.
    """
    reading, writing = os.pipe()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        if "LD_PRELOAD" in env:
            cold = [sys.executable, "-m", *command]
            process: Process = subprocess.Popen(cold, cwd=cwd, env=env, stdout=nowhere, stderr=writing, text=True)
        else:
            process = Forked(*command, cwd=cwd, env=env, stdout=nowhere, stderr=writing)
    finally:
        os.close(writing)
        os.close(nowhere)
    return process, os.fdopen(reading)


def run(
    *command: str, cwd: Path, env: Mapping[str, str], timeout: float, together: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a module to its end: what `subprocess.run` would make of `python -m MODULE ARGUMENTS`.

    Args:
        command: As `Forked` has it.
        cwd: The folder it runs in.
        env: Its environment.
        timeout: How many seconds it may take.
        together: Stderr goes where stdout goes.

    Raises:
        subprocess.TimeoutExpired: It came to no end, and was killed.
    """
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        said = (out if together else err).fileno()
        process = Forked(*command, cwd=cwd, env=env, stdout=out.fileno(), stderr=said)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


# ── The process that is forked ───────────────────────────────────────────────────────────────────────────


@cache
def _parent() -> socket.socket:
    """What to tell it by; it ends when this process does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.support.processes", str(its.fileno())]
    with its:
        started = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()])
    started.returncode = 0  # it is not waited for
    atexit.register(ours.close)
    return ours


def fork_as_told(orders: socket.socket) -> None:
    """Fork for each order; returns in what was forked, ready to run its command, and when there are no more orders."""
    for name in IMPORTED:
        import_module(name)
    gc.freeze()
    while True:
        order, files, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 3)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not order:
            sys.exit()
        if os.fork() == 0:
            orders.close()
            return _begin(order, *files)
        for file in files:
            os.close(file)


def _begin(order: bytes, stdout: int, stderr: int, news: int) -> None:
    """Be that process, with a parent that tells of its end."""
    with Connection(news, readable=False) as telling:
        pid = os.fork()
        if pid:
            telling.send(pid)
            _, status = os.waitpid(pid, 0)
            telling.send(os.waitstatus_to_exitcode(status))
            os._exit(0)
    (module, *arguments), cwd, env = json.loads(order)
    for file, number in ((stdout, 1), (stderr, 2)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[:] = [module, *arguments]
    sys.path[0] = cwd
    invalidate_caches()
    if module == "-c":
        sys.modules["__main__"] = program = ModuleType("__main__")
        sys.argv.pop(1)
        exec(compile(arguments[0], "<string>", "exec"), vars(program))  # noqa: S102 (that is what it is for)
    elif module.endswith(".py"):
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    fork_as_told(socket.socket(fileno=int(sys.argv[1])))
