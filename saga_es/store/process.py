"""An operating system process: its identity, and whether it is gone."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec


class Process(msgspec.Struct, frozen=True):
    """An operating system process, distinct from any other process that ever had its number."""

    host: str
    pid: int
    pid_started: str

    @classmethod
    def this(cls) -> Process:
        """The current process."""
        return cls(_host(), os.getpid(), _pid_started(os.getpid()) or "")

    def is_gone(self) -> bool:
        """True when it ran on this host and has certainly ended."""
        return self.is_here() and _pid_started(self.pid) != self.pid_started

    def is_here(self) -> bool:
        """Whether it runs, or ran, on this host since its last boot."""
        return self.host == _host()


# ── Forks ────────────────────────────────────────────────────────────────────────────────────────────────


class _Present:
    """The process in which this module was last told where it is, and who is to be told of a fork."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.forget: list[Callable[[], None]] = []
        self.rest: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self.forking = threading.RLock()

    def will_fork(self) -> None:
        self.forking.acquire()
        for rest, _ in self.rest:
            rest()

    def has_forked(self) -> None:
        for _, go_on in self.rest:
            go_on()
        self.forking.release()

    def was_forked(self) -> None:
        self.pid = os.getpid()
        self.forking = threading.RLock()
        for forget in self.forget:
            forget()


_present = _Present()
os.register_at_fork(before=_present.will_fork, after_in_parent=_present.has_forked, after_in_child=_present.was_forked)


def in_each_child(forget: Callable[[], None]) -> None:
    """Have this called in each process that is forked from this one, before anything inherited is used there."""
    _present.forget.append(forget)


def around_each_fork(rest: Callable[[], None], go_on: Callable[[], None]) -> None:
    """Have these called in this process before and after each fork that Python is told of; the child goes on anew."""
    _present.rest.append((rest, go_on))


def look_for_fork() -> None:
    """Notice a fork that was not told to the interpreter: uWSGI forks in C, and runs no hooks of Python's."""
    if os.getpid() != _present.pid:
        _present.was_forked()


# ── What the system says ─────────────────────────────────────────────────────────────────────────────────


def _host() -> str:
    """This machine since its last boot, and its process namespace (containers share the boot, not the namespace)."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(source)
        try:
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
        except OSError:  # not Linux: the host name must suffice
            continue
    return "/".join(parts)[:255]


def _pid_started(pid: int) -> str | None:
    """When the process started, in the kernel's ticks; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        # The name in brackets may hold blanks and brackets; count to the 22nd field from the closing bracket.
        state, *fields = stat.rpartition(")")[2].split()
        return None if state == "Z" else fields[18]
    except OSError:
        return _signal_reaches(pid)


def _signal_reaches(pid: int) -> str | None:
    if Path("/proc/self").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""
